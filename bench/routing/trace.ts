/**
 * Traces of calls with the statistics of real ones (research on routing, §4.2), made from a seed, so that none has to be shipped. A
 * prompt is a chain of blocks; a later turn of a conversation begins with all blocks of the turn before.
 */
import { Chance } from './random.ts';

/** Tokens that one block key stands for, as in the router's mirror. */
export const BLOCK_TOKENS = 256;

export interface TraceCall {
  readonly atMs: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** Of the whole blocks of the prompt. */
  readonly keys: Int32Array;
}

interface Kind {
  /** Calls a second at load 1. */
  readonly perSecond: number;
  readonly input: readonly [mu: number, sigma: number];
  readonly output: readonly [mu: number, sigma: number];
  readonly inputMax: number;
  readonly outputMax: number;
  /** Mean size of a burst: conversations that begin within a second. */
  readonly burst: number;
  /** Of the conversations, the share that goes on and on, with the chance of one turn more; and the chance for the others. */
  readonly talkative: { readonly share: number; readonly more: number; readonly others: number } | null;
  /** Between two turns. */
  readonly gapMs: readonly [mu: number, sigma: number];
  /** Tokens that all prompts begin with. */
  readonly commonTokens: number;
  /** Tokens that a turn adds beside the answer before it. */
  readonly added: readonly [mu: number, sigma: number];
}

const ln = Math.log;

export const kinds = {
  'long chat': {
    perSecond: 3.4,
    input: [8.74, 1.2],
    output: [5.34, 1.36],
    inputMax: 100_000,
    outputMax: 2_000,
    burst: 1,
    talkative: { share: 0.15, more: 0.78, others: 0.11 },
    gapMs: [ln(123_000), 1],
    commonTokens: 512,
    added: [ln(300), 1],
  },
  chat: {
    perSecond: 22,
    input: [6.63, 0.99],
    output: [5.02, 0.86],
    inputMax: 8_000,
    outputMax: 1_000,
    burst: 1,
    talkative: null,
    gapMs: [0, 0],
    commonTokens: 0,
    added: [0, 0],
  },
  code: {
    perSecond: 7.7,
    input: [7, 1.36],
    output: [2.79, 0.85],
    inputMax: 8_000,
    outputMax: 400,
    burst: 7,
    talkative: null,
    gapMs: [0, 0],
    commonTokens: 0,
    added: [0, 0],
  },
  'agent loops': {
    perSecond: 3.9,
    input: [7.98, 2],
    output: [3.92, 1.4],
    inputMax: 70_000,
    outputMax: 1_000,
    burst: 1,
    talkative: { share: 0.2, more: 0.8, others: 0.11 },
    gapMs: [ln(4_000), 1.2],
    commonTokens: 0,
    added: [ln(700), 0.7],
  },
} as const satisfies Record<string, Kind>;

export type KindName = keyof typeof kinds;

/** Calls of `seconds`, in the order of their arrival, at so many times the usual rate. */
export function generate(name: KindName, options: { seed: number; load: number; seconds: number }): TraceCall[] {
  const kind: Kind = kinds[name];
  const chance = new Chance(options.seed);
  const calls: TraceCall[] = [];
  const turns = meanTurns(kind);
  const meanGapMs = (1_000 * kind.burst * turns) / (kind.perSecond * options.load);
  let conversation = 0;
  for (let atMs = 0; atMs < options.seconds * 1_000; atMs += chance.exponential(meanGapMs)) {
    const size = kind.burst === 1 ? 1 : chance.geometric(1 - 1 / kind.burst);
    for (let one = 0; one < size; one++) {
      const startMs = atMs + (size === 1 ? 0 : 1_000 * chance.next());
      calls.push(...talk(kind, chance, { conversation: ++conversation, startMs }));
    }
  }
  return calls.filter(({ atMs }) => atMs < options.seconds * 1_000).sort((a, b) => a.atMs - b.atMs);
}

function meanTurns({ talkative }: Kind): number {
  if (talkative === null) return 1;
  const { share, more, others } = talkative;
  return share / (1 - more) + (1 - share) / (1 - others);
}

function talk(
  kind: Kind,
  chance: Chance,
  { conversation, startMs }: { conversation: number; startMs: number },
): TraceCall[] {
  const { talkative } = kind;
  const more = talkative === null ? 0 : chance.next() < talkative.share ? talkative.more : talkative.others;
  const calls: TraceCall[] = [];
  let atMs = startMs;
  let inputTokens = bounded(chance.logNormal(...kind.input), kind.inputMax);
  do {
    const outputTokens = bounded(chance.logNormal(...kind.output), kind.outputMax);
    calls.push({ atMs, inputTokens, outputTokens, keys: chain(kind, conversation, inputTokens) });
    atMs += chance.logNormal(...kind.gapMs);
    inputTokens = Math.min(
      kind.inputMax,
      inputTokens + outputTokens + bounded(chance.logNormal(...kind.added), kind.inputMax),
    );
  } while (chance.next() < more);
  return calls;
}

function chain(kind: Kind, conversation: number, inputTokens: number): Int32Array {
  const common = kind.commonTokens / BLOCK_TOKENS;
  return Int32Array.from({ length: Math.floor(inputTokens / BLOCK_TOKENS) }, (_, index) =>
    index < common ? index + 1 : Math.imul(conversation * 4_096 + index, 0x9e3779b1),
  );
}

function bounded(value: number, max: number): number {
  return Math.max(1, Math.min(max, Math.round(value)));
}
