/**
 * `npm run bench:routing-http`: the product's router and two choices at random in front of eight simulated vLLM servers, processes of
 * their own, over real HTTP with the distances of three continents; the same long chats in real time, one after the other.
 */
import { parseArgs } from 'node:util';
import { createOutbound } from '../../gateway/outbound-node.ts';
import { dispatch, type Router } from '../../router/dispatch.ts';
import { Fleet } from '../../router/fleet.ts';
import type { Need } from '../../router/pick.ts';
import { anyPolicy, type Policy } from '../../router/policy.ts';
import { prefixOf } from '../../router/prefix.ts';
import { startProber } from '../../router/probe.ts';
import { RetryBudget } from '../../router/retry-budget.ts';
import { stderrProgress } from '../../workers/progress.ts';
import { machine, storeResult } from '../machine.ts';
import { type Child, start } from '../processes.ts';
import { Chance } from './random.ts';
import { sites } from './simulate.ts';
import { generate, type TraceCall } from './trace.ts';

const HELP = `npm run bench:routing-http -- [--seconds N] [--load X]

Prints the first content (p50, p99) and the share of calls in time of both, and stores them in bench/results/.
`;

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '150' },
    load: { type: 'string', default: '1' },
    help: { type: 'boolean', default: false },
  },
});
const MODEL = 'tiny';
const CONTEXT_LENGTH = 131_072;
const BLOCK_TOKENS = 16;
const CHUNK_TOKENS = 8_192;
const SEED = 1;
const TTFT_LIMIT_MS = 2_000;
const TOKEN_LIMIT_MS = 50;
const WARM_MS = 8_000;
const RATIO_MAX = 0.8;
/** One token each, whatever the tokenizer. */
const WORD = ' the';
const LIMITS = { connectMs: 2_000, queueMs: 0, firstContentMs: 600_000, idleMs: 60_000, attempts: 3 };
const chance = new Chance(SEED);

if (values.help) process.stdout.write(HELP);
else await bench();
process.exit();

interface Measured {
  readonly calls: number;
  readonly failed: number;
  readonly ttftP50Ms: number;
  readonly ttftP99Ms: number;
  readonly goodput: number;
}

async function bench(): Promise<void> {
  const progress = stderrProgress();
  progress.step('starting eight servers');
  const servers = await Promise.all(sites.map(startServer));
  try {
    const trace = generate('long chat', { seed: SEED, load: Number(values.load), seconds: Number(values.seconds) });
    const results: Record<string, Measured> = {};
    for (const [name, policyOf] of Object.entries({ 'two choices': twoChoices, faregate: () => anyPolicy })) {
      progress.step(`${name}, ${trace.length} calls`);
      results[name] = await measure(servers, trace, name, policyOf);
    }
    progress.done();
    await report(results);
  } finally {
    await Promise.all(servers.map((server) => server.stop()));
  }
}

function startServer({ rttMs, machine: built }: (typeof sites)[number]): Promise<Child> {
  const flags = {
    model: MODEL,
    'context-length': CONTEXT_LENGTH,
    slots: built.slots,
    'prefill-tokens-per-second': built.prefillPerSecond,
    'chunk-tokens': CHUNK_TOKENS,
    'decode-base-ms': built.stepMs,
    'decode-per-request-ms': built.perRunningMs,
    'rtt-ms': rttMs,
    'kv-blocks': Math.floor(built.cacheTokens / BLOCK_TOKENS),
    'block-size': BLOCK_TOKENS,
  };
  const args = Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, String(value)]);
  return start({ file: 'gateway/cli.ts', args: ['simulate-vllm', ...args], cores: 'others' });
}

async function measure(
  servers: readonly Child[],
  trace: readonly TraceCall[],
  salt: string,
  policyOf: (fleet: Fleet) => Policy,
): Promise<Measured> {
  const { outbound, close } = createOutbound({ allowPrivate: true, connectMs: LIMITS.connectMs });
  const fleet = new Fleet({ now: () => performance.now(), random: Math.random });
  const log = { warn: () => {}, info: () => {} };
  for (const [index, { url }] of servers.entries()) fleet.upsert(recordOf(index, url));
  const stopProber = startProber({ fleet, outbound, log });
  await wait(WARM_MS);
  const router: Router = { fleet, outbound, retries: new RetryBudget(), hedges: null, log };
  const beganMs = performance.now();
  const seen = await Promise.all(
    trace.map(async (call) => {
      await wait(beganMs + call.atMs - performance.now());
      return ask(router, call, salt, policyOf(fleet));
    }),
  );
  stopProber();
  await close();
  const answered = seen.filter((one) => one !== null);
  const firsts = answered.map(({ ttftMs }) => ttftMs).sort((a, b) => a - b);
  const quantile = (share: number) =>
    firsts[Math.min(firsts.length - 1, Math.floor(share * firsts.length))] ?? Number.NaN;
  return {
    calls: trace.length,
    failed: trace.length - answered.length,
    ttftP50Ms: quantile(0.5),
    ttftP99Ms: quantile(0.99),
    goodput: answered.filter(({ inTime }) => inTime).length / trace.length,
  };
}

function recordOf(index: number, url: string) {
  const place = { country: 'NO', region: 'r', engineKey: null, state: 'active' } as const;
  const models = [{ id: MODEL, contextLength: CONTEXT_LENGTH }];
  return { id: `w${index}`, operator: `op${index}`, url, models, slots: sites[index]?.machine.slots ?? 1, ...place };
}

/** The worker with fewer calls of two at random, and no other. */
function twoChoices(fleet: Fleet): Policy {
  const all = fleet.all();
  const draw = () => all[Math.floor(chance.next() * all.length)];
  const [one, other] = [draw(), draw()];
  const chosen = (one?.inFlight ?? 0) <= (other?.inFlight ?? 0) ? one : other;
  return { ...anyPolicy, workers: { only: new Set([chosen?.record.id ?? '']), never: new Set() } };
}

async function ask(
  router: Router,
  { inputTokens, outputTokens, keys }: TraceCall,
  salt: string,
  policy: Policy,
): Promise<{ ttftMs: number; inTime: boolean } | null> {
  // A conversation is known by its last common block; its turns begin alike.
  const content = `${salt} ${keys[4] ?? inputTokens}${WORD.repeat(inputTokens)}`;
  const body = {
    model: MODEL,
    messages: [{ role: 'user', content }],
    max_tokens: outputTokens,
    ignore_eos: true,
    stream: true,
  };
  const need: Need = {
    model: MODEL,
    tokensMax: inputTokens,
    promptTokens: inputTokens,
    outputTokens: 300,
    sequences: 1,
    showsContent: true,
    prefix: prefixOf(salt, [Buffer.from(content)]),
    policy,
    exclude: new Set(),
  };
  const beganMs = performance.now();
  const signal = new AbortController().signal;
  const path = '/v1/chat/completions';
  const answer = await dispatch(router, {
    need,
    path,
    body: JSON.stringify(body),
    stream: true,
    callId: 'bench',
    signal,
    limits: LIMITS,
  });
  if (answer.kind !== 'stream') return null;
  const ttftMs = performance.now() - beganMs;
  const isWhole = await new Promise<boolean>((resolve) =>
    answer.rest.subscribe({ onEvents: () => {}, onEnd: ({ kind }) => resolve(kind === 'complete') }),
  );
  if (!isWhole) return null;
  answer.attempt.answered(outputTokens, null);
  const totalMs = performance.now() - beganMs;
  return { ttftMs, inTime: ttftMs <= TTFT_LIMIT_MS && totalMs <= TTFT_LIMIT_MS + TOKEN_LIMIT_MS * outputTokens };
}

async function report(results: Record<string, Measured>): Promise<void> {
  process.stdout.write(`${machine()}\n\n                 in time   first p50 s    p99 s  failed\n`);
  for (const [name, { goodput, ttftP50Ms, ttftP99Ms, failed }] of Object.entries(results)) {
    const cells = [goodput.toFixed(3), (ttftP50Ms / 1_000).toFixed(2), (ttftP99Ms / 1_000).toFixed(2), String(failed)];
    process.stdout.write(`${name.padEnd(14)}${cells.map((cell) => cell.padStart(10)).join('')}\n`);
  }
  const ratio = (results.faregate?.ttftP99Ms ?? Number.NaN) / (results['two choices']?.ttftP99Ms ?? Number.NaN);
  process.stdout.write(
    `\n${ratio <= RATIO_MAX ? 'met ' : 'OVER'}  p99 of the first content, × two choices  ${ratio.toFixed(3)}  (${RATIO_MAX})\n`,
  );
  await storeResult('routing-http', { seconds: Number(values.seconds), load: Number(values.load), ratio, results });
}

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));
}
