import type { SimulatorOptions } from '../options.ts';
import { type Simulator, startSimulator } from '../server.ts';
import type { Mismatch } from './compare.ts';
import { kindsOfStream, parseEvents } from './events.ts';
import { metric } from './metrics.ts';
import { asReceived, type RecordedResponse, type Recording } from './recordings.ts';
import { call, type Received } from './wire.ts';

/** The recorded server at a pace at which there is time to interfere: two milliseconds a token. */
export const PACED: SimulatorOptions = {
  apiKey: 'test',
  contextLength: 1024,
  slots: 4,
  blockSize: 128,
  decodeBaseMs: 2,
  decodePerRequestMs: 0,
};

/** A stream that ends only when it is stopped, or after 900 tokens. */
export const LONG_STREAM = {
  model: 'tiny',
  messages: [{ role: 'user', content: 'Hello there' }],
  max_tokens: 900,
  ignore_eos: true,
  stream: true,
};

/** Replays a recording with a simulator of its own and tells what differs. */
export type Scene = (recorded: Recording) => Promise<Mismatch[]>;

/** Runs with a simulator of its own. */
export async function withSimulator<T>(
  options: SimulatorOptions,
  run: (simulator: Simulator) => Promise<T>,
): Promise<T> {
  const simulator = await startSimulator(options);
  try {
    return await run(simulator);
  } finally {
    await simulator.close();
  }
}

const HEADERS = { Authorization: 'Bearer test', 'Content-Type': 'application/json' };

/** One chat call with a recorded body. */
export function chatCall(url: string, body: unknown, limitMs?: number): Promise<Received> {
  const bytes = Buffer.from(JSON.stringify(body));
  return call(url, { method: 'POST', path: '/v1/chat/completions', headers: HEADERS, body: bytes }, limitMs);
}

/** A call without a body; a refused connection reads as no status. */
export function ask(url: string, path: string, method = 'GET'): Promise<Received> {
  return call(url, { method, path, headers: { Authorization: 'Bearer test' }, body: null }, 2000);
}

/** Starts the calls one after the other, each when the one before has reached the engine. */
export async function startCalls(
  url: string,
  bodies: readonly unknown[],
  limitMs = 20_000,
): Promise<readonly Promise<Received>[]> {
  const running: Promise<Received>[] = [];
  for (const body of bodies) {
    const before = await present(url);
    running.push(chatCall(url, body, limitMs));
    await until(async () => (await present(url)) > before);
  }
  return running;
}

async function present(url: string): Promise<number> {
  const { running, waiting } = await gauges(url);
  return running + waiting;
}

/** What the metrics page says of the engine now. */
export async function gauges(
  url: string,
): Promise<{ running: number; waiting: number; generated: number; ended: number }> {
  const { body } = await ask(url, '/metrics');
  return {
    running: metric(body, 'vllm:num_requests_running{'),
    waiting: metric(body, 'vllm:num_requests_waiting{'),
    generated: metric(body, 'vllm:generation_tokens_total{'),
    ended: metric(body, 'vllm:request_success_total{engine="0",finished_reason="length"'),
  };
}

/** Waits for something to become true; gives up quietly, so that the comparison tells what is wrong. */
export async function until(condition: () => Promise<boolean>, withinMs = 5000): Promise<boolean> {
  for (const limit = performance.now() + withinMs; performance.now() < limit; ) {
    if (await condition()) {
      return true;
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return false;
}

/** How a call went: status, events or finish, and how it ended. Recorded and simulated calls read alike. */
export function outcomeOf({ status, chunks, body, complete, ended }: Received): unknown {
  if (status === null) {
    // Without an answer, all that matters is whether the client gave up or the server did.
    return { status, ended: ended === 'aborted by client' ? ended : 'closed' };
  }
  if (chunks !== null) {
    return {
      status,
      events: kindsOfStream(parseEvents(chunks)),
      finishes: finishesOf(chunks.join('')),
      complete,
      ended,
    };
  }
  return { status, finishes: finishesOf(body), error: /"type":"(\w+ ?\w*)"/.exec(body)?.[1] ?? null, complete, ended };
}

export function recordedOutcome(response: RecordedResponse): unknown {
  return outcomeOf(asReceived(response));
}

/** Each different value once, in order. */
export function distinct(values: readonly unknown[]): string[] {
  return [...new Set(values.map((value) => JSON.stringify(value)))].toSorted();
}

function finishesOf(text: string): string[] {
  return [...text.matchAll(/"finish_reason":"(\w+)"/g)].map(([, finish = '']) => finish);
}
