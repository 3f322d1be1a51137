/**
 * The worker of the attack: it says as many tokens as it is asked for, and remembers how many it sent for each call. That is
 * the one account of delivered tokens that no part of the gateway had a hand in.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export const MODEL = 'counted';
/**
 * What every caller says, and its tokens: one for each four bytes that the gateway counts, which is also its first estimate
 * for callers who left before the worker said a number, so that it is exact here.
 */
export const MESSAGES = [{ role: 'user', content: 'Count.'.padEnd(53) }];
export const PROMPT_TOKENS = 32;

export interface CountingWorker {
  readonly url: string;
  /** The most completion tokens that were sent for a call in one attempt, by call id. */
  readonly sent: ReadonlyMap<string, number>;
  close(): void;
}

const TOKENS_PER_WRITE = 8;
const WRITE_EVERY_MS = 4;

export async function startCountingWorker(): Promise<CountingWorker> {
  const sent = new Map<string, number>();
  const server = createServer((request, response) => {
    void answer(request, response, sent).catch(() => response.destroy());
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    sent,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

async function answer(request: IncomingMessage, response: ServerResponse, sent: Map<string, number>): Promise<void> {
  let text = '';
  for await (const piece of request) text += piece;
  const call = String(request.headers['x-request-id']);
  const { max_tokens: tokens = 1, stream = false } = JSON.parse(text || '{}') as {
    max_tokens?: number;
    stream?: boolean;
  };
  const note = (count: number) => sent.set(call, Math.max(count, sent.get(call) ?? 0));
  if (stream) return answerStream(response, tokens, note);
  note(tokens);
  const message = { role: 'assistant', content: 'x '.repeat(tokens) };
  const choices = [{ index: 0, message, finish_reason: 'length' }];
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify({ ...head('chat.completion'), choices, usage: usage(tokens) }));
}

async function answerStream(response: ServerResponse, tokens: number, note: (count: number) => void): Promise<void> {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  for (let done = 0; done < tokens && !response.destroyed; ) {
    let events = '';
    for (const end = Math.min(tokens, done + TOKENS_PER_WRITE); done < end; ) {
      done += 1;
      const choice = { index: 0, delta: { content: 'x ' }, finish_reason: done === tokens ? 'length' : null };
      events += event({ ...head('chat.completion.chunk'), choices: [choice], usage: usage(done) });
    }
    note(done);
    response.write(events);
    await sleep(WRITE_EVERY_MS);
  }
  response.end(`${event({ ...head('chat.completion.chunk'), choices: [], usage: usage(tokens) })}data: [DONE]\n\n`);
}

function head(object: string) {
  return { id: 'chatcmpl-counted', object, created: 0, model: MODEL };
}

function usage(completionTokens: number) {
  return {
    prompt_tokens: PROMPT_TOKENS,
    completion_tokens: completionTokens,
    total_tokens: PROMPT_TOKENS + completionTokens,
  };
}

function event(data: object): string {
  return `data: ${JSON.stringify(data)}\n\n`;
}
