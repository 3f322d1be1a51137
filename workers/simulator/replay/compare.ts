import { kindsOfStream, parseEvents, type StreamEvent } from './events.ts';
import { shapeOf } from './shape.ts';
import type { Received } from './wire.ts';

/** The words of DIFFERENCES.md. */
const KINDS = [
  'status',
  'headers',
  'shape',
  'error',
  'message',
  'cache',
  'finish',
  'events',
  'ended',
  'metrics',
  'other metrics',
] as const;

/** One thing that is not as recorded. `what` is the word that DIFFERENCES.md uses. */
export interface Mismatch {
  readonly what: (typeof KINDS)[number];
  readonly recorded: unknown;
  readonly simulated: unknown;
}

/** Headers whose values must be equal; of all others but these two the presence must be. */
const EXACT_HEADERS = ['content-type', 'vary', 'connection', 'allow', 'location', 'server', 'transfer-encoding'];
const FREE_HEADERS = ['date', 'content-length'];

/** All that differs between a recorded answer and a simulated one. */
export function compareAnswers(recorded: Received, simulated: Received): Mismatch[] {
  return [
    ...compareHeads(recorded, simulated),
    ...differ('ended', [recorded.ended, recorded.complete], [simulated.ended, simulated.complete]),
    ...(recorded.chunks === null ? compareBodies(recorded.body, simulated.body) : compareStreams(recorded, simulated)),
  ];
}

/** What differs in status and headers. */
export function compareHeads(recorded: Received, simulated: Received): Mismatch[] {
  return [
    ...differ('status', recorded.status, simulated.status),
    ...differ('headers', headersOf(recorded), headersOf(simulated)),
  ];
}

/** Compares two bodies: texts as they are, JSON by its shape and its telling values. */
function compareBodies(recorded: string, simulated: string): Mismatch[] {
  const [before, now] = [parse(recorded), parse(simulated)];
  if (before === undefined || now === undefined) {
    return differ('shape', recorded, simulated);
  }
  return [
    ...differ('shape', shapeOf(before), shapeOf(now)),
    ...differ('error', errorOf(before, ['type', 'param', 'code']), errorOf(now, ['type', 'param', 'code'])),
    ...differ('message', errorOf(before, ['message']), errorOf(now, ['message'])),
    ...differ('cache', cacheOf(before), cacheOf(now)),
    ...differ('finish', finishesOf(before), finishesOf(now)),
  ];
}

function compareStreams(recorded: Received, simulated: Received): Mismatch[] {
  const [before, now] = [parseEvents(recorded.chunks ?? []), parseEvents(simulated.chunks ?? [])];
  return [
    ...differ('events', kindsOfStream(before), kindsOfStream(now)),
    ...differShapes(shapesByKind(before), shapesByKind(now)),
    ...differ('finish', before.flatMap(finishesOfEvent), now.flatMap(finishesOfEvent)),
  ];
}

export function differ(what: Mismatch['what'], recorded: unknown, simulated: unknown): Mismatch[] {
  return JSON.stringify(recorded) === JSON.stringify(simulated) ? [] : [{ what, recorded, simulated }];
}

function headersOf({ headers }: Received): unknown {
  return [...headers]
    .filter(([name]) => !FREE_HEADERS.includes(name))
    .map(([name, value]) => (EXACT_HEADERS.includes(name) ? `${name}: ${value}` : name))
    .toSorted();
}

/** Shapes of the kinds of events that both streams have: content, for one, may have come with the finish alone. */
function differShapes(before: ReadonlyMap<string, Set<string>>, now: ReadonlyMap<string, Set<string>>): Mismatch[] {
  return [...before].flatMap(([kind, shapes]) => {
    const others = now.get(kind);
    return others === undefined
      ? []
      : differ('shape', [kind, ...[...shapes].toSorted()], [kind, ...[...others].toSorted()]);
  });
}

function shapesByKind(events: readonly StreamEvent[]): Map<string, Set<string>> {
  const byKind = new Map<string, Set<string>>();
  for (const { kind, json } of events) {
    const shapes = byKind.get(kind) ?? new Set();
    shapes.add(JSON.stringify(kind === 'finish' ? shapeOf(withoutDelta(json)) : shapeOf(json)));
    byKind.set(kind, shapes);
  }
  return byKind;
}

/** The finish may ride on the last content or come alone, with logprobs or without: chance decides. */
function withoutDelta(json: unknown): unknown {
  return JSON.parse(
    JSON.stringify(json, (key, value) => (key === 'delta' || key === 'logprobs' || key === 'token_ids' ? null : value)),
  );
}

function finishesOfEvent({ json }: StreamEvent): unknown[] {
  return finishesOf(json).filter((finish) => finish !== null);
}

/** Finish reasons, and whether there was a reason to stop. */
function finishesOf(json: unknown): unknown[] {
  const choices = (json as { choices?: { finish_reason?: unknown; stop_reason?: unknown }[] } | null)?.choices ?? [];
  return choices.map(({ finish_reason: finish, stop_reason: reason }) =>
    reason === null || reason === undefined ? (finish ?? null) : `${String(finish)} at ${typeof reason}`,
  );
}

function errorOf(json: unknown, names: readonly string[]): unknown {
  const error = (json as { error?: Record<string, unknown> | string } | null)?.error;
  if (typeof error !== 'object') {
    return error;
  }
  return names.map((name) => (name === 'message' ? String(error[name]).replace(/\d+/g, '#') : error[name]));
}

/** Whether there were cached tokens, and new ones for the cache. */
function cacheOf(json: unknown): unknown {
  const details = (json as { usage?: { prompt_tokens_details?: Record<string, number> | null } } | null)?.usage;
  return Object.values(details?.prompt_tokens_details ?? {}).map((tokens) => (tokens === null ? null : tokens > 0));
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
