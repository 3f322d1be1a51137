/** The part of a stream's event that this file reads; every other member is carried along. */
interface Chunk {
  readonly choices: readonly [Choice];
  readonly usage?: unknown;
}

interface Choice {
  readonly index: number;
  readonly finish_reason: string | null;
  readonly delta?: Delta;
  readonly text?: string;
  readonly [member: string]: unknown;
}

interface Delta {
  readonly content?: string | null;
  readonly reasoning?: string | null;
  readonly tool_calls?: readonly [{ readonly id?: string; readonly function: { readonly arguments?: string } }];
  readonly role?: string;
}

/**
 * Brings a stream into a form that does not depend on the moment at which a token left: events per choice, the text of a
 * finishing event apart from its finish, neighbouring pieces of text joined. Events without a choice keep their place at the end.
 */
export function lanesOf(events: readonly unknown[]): { choices: Record<number, unknown[]>; rest: unknown[] } {
  const lanes: Record<number, unknown[]> = {};
  const rest: unknown[] = [];
  for (const event of events) {
    if (!isChunk(event)) {
      rest.push(event);
      continue;
    }
    const index = event.choices[0].index;
    lanes[index] ??= [];
    const lane = lanes[index];
    for (const part of splitFinish(event)) {
      const last = lane.at(-1);
      if (isChunk(last) && isPiece(last) && isPiece(part)) lane[lane.length - 1] = join(last, part);
      else lane.push(part);
    }
  }
  return { choices: lanes, rest };
}

function isChunk(event: unknown): event is Chunk {
  return (
    typeof event === 'object' &&
    event !== null &&
    'choices' in event &&
    Array.isArray(event.choices) &&
    event.choices.length === 1
  );
}

/** Nothing but more of the text, of the reasoning or of the arguments of a tool. */
function isPiece({ choices: [{ finish_reason, delta, text }] }: Chunk): boolean {
  if (finish_reason !== null) return false;
  if (delta === undefined) return text !== undefined;
  return delta.role === undefined && delta.tool_calls?.[0].id === undefined;
}

function splitFinish(chunk: Chunk): Chunk[] {
  const [choice] = chunk.choices;
  if (choice.finish_reason === null) return [chunk];
  const nothing = choice.text === undefined ? { delta: {} } : { text: '' };
  const finish = { ...chunk, choices: [{ ...choice, ...nothing, logprobs: null, token_ids: null }] as const };
  if (isEmpty(choice)) return [finish];
  const unfinished = 'stop_reason' in choice ? { finish_reason: null, stop_reason: null } : { finish_reason: null };
  return [{ ...chunk, choices: [{ ...choice, ...unfinished }] }, finish];
}

const isEmpty = ({ delta, text }: Choice) =>
  (text ?? '') === '' && Object.values(delta ?? {}).every((said) => said === '' || said === null);

/** Two neighbouring pieces as if they had come in one event: texts and lists joined, of the rest the later one. */
function join(first: Chunk, second: Chunk): Chunk {
  return { ...first, ...second, choices: [joined(first.choices[0], second.choices[0]) as Choice] };
}

const TEXTS = new Set(['content', 'reasoning', 'text', 'arguments']);

function joined(first: unknown, second: unknown, key = ''): unknown {
  if (first === null || first === undefined) return second;
  if (second === null || second === undefined) return first;
  if (TEXTS.has(key) && typeof first === 'string' && typeof second === 'string') return first + second;
  if (Array.isArray(first) && Array.isArray(second)) {
    return key === 'tool_calls' ? [joined(first[0], second[0])] : [...first, ...second];
  }
  if (typeof first !== 'object' || typeof second !== 'object') return second;
  const keys = new Set([...Object.keys(first), ...Object.keys(second)]);
  return Object.fromEntries(
    [...keys].map((name) => [name, joined(Reflect.get(first, name), Reflect.get(second, name), name)]),
  );
}
