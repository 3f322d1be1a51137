/** Outbound HTTP over fetch, for runtimes that have no sockets of ours (Cloudflare Workers). */

import type { Outbound, OutboundRequest, OutboundSink } from '../router/outbound.ts';
import { toHeaders } from './head-fields.ts';

/** The runtime's own fetch checks where it may connect; redirects are never followed. */
export const fetchOutbound: Outbound = (request, sink) => {
  const control = new AbortController();
  const flow = new Flow();
  void run(request, sink, control.signal, flow);
  return { abort: (reason) => control.abort(reason), pause: () => flow.pause(), resume: () => flow.resume() };
};

async function run(request: OutboundRequest, sink: OutboundSink, signal: AbortSignal, flow: Flow): Promise<void> {
  try {
    sink.onSent();
    const { target, method } = request;
    const init: RequestInit = {
      method,
      headers: toHeaders({ ...target.headers, ...request.headers }),
      signal,
      redirect: 'manual',
    };
    if (request.body !== undefined) init.body = request.body as NonNullable<RequestInit['body']>;
    const response = await fetch(target.url, init);
    sink.onHead(response.status, response.headers.get('content-type') ?? '');
    for await (const chunk of response.body ?? []) {
      sink.onData(chunk);
      await flow.open();
    }
  } catch (error) {
    sink.onError(error instanceof Error ? error : new Error(String(error)));
    return;
  }
  sink.onEnd();
}

/** Lets the reading loop wait while the caller reads too slowly. */
class Flow {
  #gate: Promise<void> | null = null;
  #release: () => void = () => {};

  pause(): void {
    this.#gate ??= new Promise((resolve) => {
      this.#release = resolve;
    });
  }

  resume(): void {
    this.#gate = null;
    this.#release();
  }

  async open(): Promise<void> {
    while (this.#gate !== null) await this.#gate;
  }
}
