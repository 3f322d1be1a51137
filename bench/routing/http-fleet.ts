/** One gateway's router in front of eight simulated vLLM servers, processes of their own, with the distances of three continents. */
import { createOutbound } from '../../gateway/outbound-node.ts';
import { dispatch, type Router } from '../../router/dispatch.ts';
import { Fleet } from '../../router/fleet.ts';
import type { Need } from '../../router/pick.ts';
import { anyPolicy, type Policy } from '../../router/policy.ts';
import { prefixOf } from '../../router/prefix.ts';
import { startProber } from '../../router/probe.ts';
import { RetryBudget } from '../../router/retry-budget.ts';
import { type Child, start } from '../processes.ts';
import { Chance } from './random.ts';
import { isInTime, sites } from './simulate.ts';
import type { TraceCall } from './trace.ts';

const MODEL = 'tiny';
const CONTEXT_LENGTH = 131_072;
const BLOCK_TOKENS = 16;
const CHUNK_TOKENS = 8_192;
/** Until every worker was checked and its distance is known. */
const WARM_MS = 8_000;
/** One token each, whatever the tokenizer. */
const WORD = ' the';
const LIMITS = { connectMs: 2_000, queueMs: 0, firstContentMs: 600_000, idleMs: 60_000, attempts: 3 };
const EXPECTED_OUTPUT_TOKENS = 300;

/** What became of one call. */
export interface Asked {
  /** Null: it failed. */
  readonly ttftMs: number | null;
  readonly inTime: boolean;
  /** How much later than due it was sent: the machine was busy with something else. */
  readonly lateMs: number;
}

/** What a caller asks of the router, so that it does what another way to route would. */
export type PolicyOf = (fleet: Fleet, chance: Chance) => Policy;

export function startServers(): Promise<Child[]> {
  return Promise.all(sites.map(startServer));
}

function startServer({ rttMs, machine }: (typeof sites)[number]): Promise<Child> {
  const flags = {
    model: MODEL,
    'context-length': CONTEXT_LENGTH,
    slots: machine.slots,
    'prefill-tokens-per-second': machine.prefillPerSecond,
    'chunk-tokens': CHUNK_TOKENS,
    'decode-base-ms': machine.stepMs,
    'decode-per-request-ms': machine.perRunningMs,
    'rtt-ms': rttMs,
    'kv-blocks': Math.floor(machine.cacheTokens / BLOCK_TOKENS),
    'block-size': BLOCK_TOKENS,
  };
  const args = Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, String(value)]);
  return start({ file: 'gateway/cli.ts', args: ['simulate-vllm', ...args], cores: 'others' });
}

/** Plays a trace in real time with a router that knows nothing yet; `salt` keeps its prompts out of the caches of other runs. */
export async function play(
  servers: readonly Child[],
  trace: readonly TraceCall[],
  { seed, salt, policyOf }: { seed: number; salt: string; policyOf: PolicyOf },
): Promise<Asked[]> {
  const { outbound, close } = createOutbound({ allowPrivate: true, connectMs: LIMITS.connectMs });
  const fleet = new Fleet({ now: () => performance.now(), random: Math.random });
  const log = { warn: () => {}, info: () => {} };
  for (const [index, { url }] of servers.entries()) fleet.upsert(recordOf(index, url));
  const stopProber = startProber({ fleet, outbound, log });
  await wait(WARM_MS);
  const router: Router = { fleet, outbound, retries: new RetryBudget(), hedges: null, log };
  const chance = new Chance(seed);
  const beganMs = performance.now();
  const asked = await Promise.all(
    trace.map(async (call) => {
      await wait(beganMs + call.atMs - performance.now());
      const lateMs = performance.now() - beganMs - call.atMs;
      return { ...(await ask(router, call, salt, policyOf(fleet, chance))), lateMs };
    }),
  );
  stopProber();
  await close();
  return asked;
}

function recordOf(index: number, url: string) {
  const place = { country: 'NO', region: 'r', engineKey: null, state: 'active' } as const;
  const models = [{ id: MODEL, contextLength: CONTEXT_LENGTH }];
  return { id: `w${index}`, operator: `op${index}`, url, models, slots: sites[index]?.machine.slots ?? 1, ...place };
}

/** The product's own choice. */
export const faregate: PolicyOf = () => anyPolicy;

/** The worker with fewer calls of two at random, and no other. */
export const twoChoices: PolicyOf = (fleet, chance) => {
  const all = fleet.all();
  const draw = () => all[Math.floor(chance.next() * all.length)];
  const [one, other] = [draw(), draw()];
  const chosen = (one?.inFlight ?? 0) <= (other?.inFlight ?? 0) ? one : other;
  return { ...anyPolicy, workers: { only: new Set([chosen?.record.id ?? '']), never: new Set() } };
};

async function ask(
  router: Router,
  { inputTokens, outputTokens, keys }: TraceCall,
  salt: string,
  policy: Policy,
): Promise<Omit<Asked, 'lateMs'>> {
  // A conversation is known by its last common block; its turns begin alike.
  const content = `${salt} ${keys[4] ?? inputTokens}${WORD.repeat(inputTokens)}`;
  const need: Need = {
    model: MODEL,
    tokensMax: inputTokens,
    promptTokens: inputTokens,
    outputTokens: EXPECTED_OUTPUT_TOKENS,
    sequences: 1,
    showsContent: true,
    prefix: prefixOf(salt, [Buffer.from(content)]),
    policy,
    exclude: new Set(),
  };
  const messages = [{ role: 'user', content }];
  const beganMs = performance.now();
  const answer = await dispatch(router, {
    need,
    path: '/v1/chat/completions',
    body: JSON.stringify({ model: MODEL, messages, max_tokens: outputTokens, ignore_eos: true, stream: true }),
    stream: true,
    callId: 'bench',
    signal: new AbortController().signal,
    limits: LIMITS,
  });
  const ttftMs = performance.now() - beganMs;
  const isWhole =
    answer.kind === 'stream' &&
    (await new Promise<boolean>((resolve) =>
      answer.rest.subscribe({ onEvents: () => {}, onEnd: ({ kind }) => resolve(kind === 'complete') }),
    ));
  if (!isWhole) return { ttftMs: null, inTime: false };
  answer.attempt.answered(outputTokens, null);
  return { ttftMs, inTime: isInTime(ttftMs, performance.now() - beganMs, outputTokens) };
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));
}
