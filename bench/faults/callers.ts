/** Agents that call without pause, and write down what they were told: the client's side of the books. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Random, randomInteger } from '../../workers/simulator/random.ts';
import { MESSAGES, MODEL } from './worker.ts';

/** What the clients saw of all calls. */
export interface Seen {
  /** Charges that were acknowledged, by call id. */
  readonly acknowledged: Map<string, bigint>;
  /** Answers that carried no charge: how often, by their code. */
  readonly refused: Map<string, number>;
  /** Calls that were begun and broke, or that their caller left. */
  cut: number;
  /** Acknowledged and refused calls of those agents whose money suffices for everything. */
  readonly funded: { good: number; refused: number };
}

export interface CallerOptions {
  readonly keys: readonly { readonly key: string; readonly funded: boolean }[];
  /** The gateways that are ready now. */
  readonly urls: () => readonly string[];
  readonly random: Random;
  readonly callers: number;
}

const REFUSED_PAUSE_MS = 100;
const LONG_TOKENS = 700;
const CALL_LIMIT_MS = 60_000;

/** Starts the callers; the returned function ends them after their last call and answers what they saw. */
export function startCallers(options: CallerOptions): { seen: Seen; stop: () => Promise<Seen> } {
  const seen: Seen = { acknowledged: new Map(), refused: new Map(), cut: 0, funded: { good: 0, refused: 0 } };
  let running = true;
  const all = Array.from({ length: options.callers }, async (_, index) => {
    for (let turn = index; running; turn++) await callOnce(options, seen, turn);
  });
  return {
    seen,
    stop: async () => {
      running = false;
      await Promise.all(all);
      return seen;
    },
  };
}

async function callOnce({ keys, urls, random }: CallerOptions, seen: Seen, turn: number): Promise<void> {
  const agent = keys[turn % keys.length];
  const ready = urls();
  const url = ready[Math.floor(random() * ready.length)];
  if (agent === undefined || url === undefined) return sleep(REFUSED_PAUSE_MS);
  const stream = random() < 0.5;
  const tokens = random() < 0.05 ? LONG_TOKENS : randomInteger(random, 1, 40);
  const leaving = stream && random() < 0.1 ? AbortSignal.timeout(randomInteger(random, 5, 60)) : null;
  try {
    const limit = AbortSignal.timeout(CALL_LIMIT_MS);
    const answer = await ask(url, agent.key, { tokens, stream }, leaving ? AbortSignal.any([limit, leaving]) : limit);
    if (answer.charged !== null) {
      seen.acknowledged.set(answer.call, answer.charged);
      if (agent.funded) seen.funded.good += 1;
    } else if (answer.code !== null) {
      seen.refused.set(answer.code, (seen.refused.get(answer.code) ?? 0) + 1);
      if (agent.funded) seen.funded.refused += 1;
      await sleep(REFUSED_PAUSE_MS);
    } else seen.cut += 1;
  } catch {
    seen.cut += 1;
    await sleep(10);
  }
}

interface Answer {
  readonly call: string;
  /** Null when no charge was told. */
  readonly charged: bigint | null;
  /** The error's code, when one was told. */
  readonly code: string | null;
}

/** One call as a client makes it. A stream counts as acknowledged from its usage event on. */
async function ask(
  url: string,
  key: string,
  { tokens, stream }: { tokens: number; stream: boolean },
  signal: AbortSignal,
): Promise<Answer> {
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      model: MODEL,
      messages: MESSAGES,
      max_tokens: tokens,
      ...(stream ? { stream, stream_options: { include_usage: true } } : {}),
    }),
    signal,
  });
  let text = '';
  try {
    for await (const piece of response.body ?? []) text += Buffer.from(piece).toString();
  } catch {
    // Cut off: what came until then counts.
  }
  return {
    call: response.headers.get('x-faregate-call') ?? '',
    charged: chargeIn(text),
    code: /"code":"(\w+)"/.exec(text)?.[1] ?? null,
  };
}

function chargeIn(text: string): bigint | null {
  const digits = /"charged_nanousd":"(\d+)"/.exec(text)?.[1];
  return digits === undefined ? null : BigInt(digits);
}
