/** One event of a stream, and what it is good for. */
export interface StreamEvent {
  readonly kind:
    | 'comment'
    | 'role'
    | 'content'
    | 'reasoning'
    | 'call'
    | 'arguments'
    | 'finish'
    | 'usage'
    | 'error'
    | 'done'
    | 'other';
  readonly index: number;
  /** A finish that carries content as well. */
  readonly carries: 'content' | 'reasoning' | null;
  readonly json: unknown;
}

interface Chunk {
  readonly error?: unknown;
  readonly choices?: readonly {
    readonly index: number;
    readonly text?: string;
    readonly finish_reason: string | null;
    readonly delta?: {
      readonly role?: string;
      readonly content?: string | null;
      readonly reasoning?: string;
      readonly tool_calls?: readonly { readonly id?: string }[];
    };
  }[];
}

/** The events of a stream, from its HTTP chunks. */
export function parseEvents(chunks: readonly string[]): StreamEvent[] {
  return chunks
    .join('')
    .split('\n\n')
    .filter((text) => text !== '')
    .map(parseEvent);
}

/** What comes in which order: for each choice its kinds, repeats told once, and what belongs to no choice. */
export function kindsOfStream(events: readonly StreamEvent[]): unknown {
  const indexes = [...new Set(events.map(({ index }) => index))].toSorted();
  return indexes.map((index) => {
    const kinds = events.flatMap((event) =>
      event.index === index ? [event.carries, event.kind].filter((kind) => kind !== null) : [],
    );
    return [index, kinds.filter((kind, at) => kind !== kinds[at - 1])];
  });
}

function parseEvent(text: string): StreamEvent {
  const bare = { index: -1, carries: null, json: null };
  if (text.startsWith(':')) {
    return { ...bare, kind: 'comment' };
  }
  if (!text.startsWith('data: ')) {
    return { ...bare, kind: 'other' };
  }
  const data = text.replace(/^data: /, '');
  if (data === '[DONE]') {
    return { ...bare, kind: 'done' };
  }
  const json: Chunk = JSON.parse(data);
  if (json.error !== undefined) {
    return { ...bare, kind: 'error', json };
  }
  const [choice] = json.choices ?? [];
  if (choice === undefined) {
    return { ...bare, kind: 'usage', json };
  }
  const said = kindOfChoice(choice);
  return choice.finish_reason === null
    ? { index: choice.index, kind: said ?? 'content', carries: null, json }
    : { index: choice.index, kind: 'finish', carries: said === 'content' || said === 'reasoning' ? said : null, json };
}

function kindOfChoice({ text, delta }: NonNullable<Chunk['choices']>[number]): StreamEvent['kind'] | null {
  if (delta === undefined) {
    return text === undefined ? null : 'content';
  }
  const [call] = delta.tool_calls ?? [];
  if (delta.role !== undefined) {
    return 'role';
  }
  if (call !== undefined) {
    return call.id === undefined ? 'arguments' : 'call';
  }
  return delta.reasoning === undefined ? (delta.content === undefined ? null : 'content') : 'reasoning';
}
