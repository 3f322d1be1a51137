/** Engines that misbehave on the wire as they are told, and a router before them: for tests of routing over real sockets. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach } from 'vitest';
import type { StreamEvent } from '../router/answer.ts';
import { type Dispatched, type DispatchRequest, dispatch, type Router } from '../router/dispatch.ts';
import { Fleet } from '../router/fleet.ts';
import type { Need } from '../router/pick.ts';
import { anyPolicy } from '../router/policy.ts';
import { RetryBudget } from '../router/retry-budget.ts';
import type { StreamOutcome } from '../router/stream.ts';
import type { WorkerRecord } from '../router/worker.ts';
import { createOutbound } from './outbound-node.ts';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

export type Behaviour = (response: ServerResponse, request: IncomingMessage) => unknown;

/** An engine that behaves as told, and remembers whose requests came and which of its answers were hung up on. */
export async function engine(behave: Behaviour) {
  const seen = { calls: 0, closed: 0, headers: [] as IncomingMessage['headers'][] };
  const server = createServer((request, response) => {
    seen.calls += 1;
    seen.headers.push(request.headers);
    response.on('close', () => {
      if (!response.writableFinished) seen.closed += 1;
    });
    request.resume().on('end', () => behave(response, request));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return { seen, server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

export const chunk = (choice: object, more: object = {}) =>
  `data: ${JSON.stringify({ model: 'tiny', choices: [{ index: 0, finish_reason: null, ...choice }], ...more })}\n\n`;
export const role = chunk({ delta: { role: 'assistant', content: '' } });
export const word = chunk({ delta: { content: 'Hi' } });
export const stop = chunk({ delta: {}, finish_reason: 'stop' });
export const done = 'data: [DONE]\n\n';
export const whole = { model: 'tiny', choices: [{ index: 0, finish_reason: 'stop' }], usage: { prompt_tokens: 1 } };
export const errorEvent = (code: number) =>
  `data: {"error":{"message":"no","type":"T","param":null,"code":${code}}}\n\n`;

export const head = (response: ServerResponse) =>
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
export const streams =
  (...writes: string[]): Behaviour =>
  (response) => {
    head(response);
    for (const text of writes) response.write(text);
    response.end();
  };
export const good = streams(role, word, stop, done);
export const answers =
  (status: number, body: unknown): Behaviour =>
  (response) =>
    response
      .writeHead(status, { 'content-type': 'application/json' })
      .end(typeof body === 'string' ? body : JSON.stringify(body));

/** A router over real sockets; workers `w0`, `w1`, … of operators `op0`, …, the first the most attractive. */
export function routerOf(
  urls: readonly string[],
  more: Partial<WorkerRecord> = {},
  random: () => number = Math.random,
  now: () => number = () => performance.now(),
): Router {
  const { outbound, close } = createOutbound({ allowPrivate: true, connectMs: 1000 });
  closers.push(close);
  const fleet = new Fleet({ now, random });
  for (const [index, url] of urls.entries()) {
    const id = `w${index}`;
    const models = [{ id: 'tiny', contextLength: 8192 }];
    const base = { engineKey: null, country: 'NO', region: 'north', slots: 4, state: 'active' } as const;
    const worker = fleet.upsert({ id, operator: `op${index}`, url, models, ...base, ...more });
    worker.times.rttMs = 10 + 100 * index; // so that the first is asked first
  }
  return { fleet, outbound, retries: new RetryBudget(), hedges: null, log: { warn: () => {} } };
}

export const limits = { connectMs: 1000, queueMs: 1000, firstContentMs: 5000, idleMs: 5000, attempts: 3 };
export const need: Need = {
  model: 'tiny',
  tokensMax: 10,
  promptTokens: 1,
  outputTokens: 1,
  sequences: 1,
  showsContent: true,
  prefix: null,
  policy: anyPolicy,
  exclude: new Set(),
};

/** Dispatches a streaming chat call, but for what is said otherwise. */
export function send(router: Router, more: Partial<DispatchRequest> = {}): Promise<Dispatched> {
  return dispatch(router, {
    need,
    path: '/v1/chat/completions',
    body: '{}',
    stream: true,
    callId: 'call-1',
    signal: new AbortController().signal,
    limits,
    ...more,
  });
}

interface Read {
  readonly text: string;
  readonly outcome: StreamOutcome;
}

/** Reads a committed stream to its end. */
export function readAll(answer: Dispatched): Promise<Read> {
  if (answer.kind !== 'stream') throw new Error(`not a stream: ${JSON.stringify(answer)}`);
  const events: StreamEvent[] = [...answer.first];
  return new Promise((resolve) => {
    answer.rest.subscribe({
      onEvents: (more) => events.push(...more),
      onEnd: (outcome) => resolve({ text: events.map(({ text }) => text).join(''), outcome }),
    });
  });
}

/** The counts of every worker, which must be 0 when all is over. */
export const inFlight = ({ fleet }: Router) => fleet.all().map((worker) => worker.inFlight);
