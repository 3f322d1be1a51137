/** The Exchange over a web Request and a streamed Response, for runtimes that have no other (Cloudflare Workers). */
import type { Limits } from './config.ts';
import { CallerLeft, type Exchange, type Head } from './exchange.ts';
import { toHeaders } from './head-fields.ts';
import { collectBody } from './route-body.ts';
import { fieldsOf } from './wire/fields.ts';

const encoder = new TextEncoder();

export class FetchExchange implements Exchange {
  readonly control = new AbortController();
  /** Resolves when the head leaves. */
  readonly response: Promise<Response>;
  readonly #request: Request;
  readonly #limits: Limits;
  readonly #stream: ReadableStream<Uint8Array>;
  #answer: (response: Response) => void = () => {};
  #body: ReadableStreamDefaultController<Uint8Array> | null = null;
  #onDrain: () => void = () => {};
  #headSent = false;
  #over = false;

  constructor(request: Request, limits: Limits) {
    this.#request = request;
    this.#limits = limits;
    this.response = new Promise((resolve) => {
      this.#answer = resolve;
    });
    const leave = () => this.control.abort(new CallerLeft());
    request.signal.addEventListener('abort', leave, { once: true });
    this.#stream = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.#body = controller;
      },
      pull: () => this.#onDrain(),
      cancel: leave,
    });
  }

  get headSent(): boolean {
    return this.#headSent;
  }

  header(name: string): string | undefined {
    return this.#request.headers.get(name) ?? undefined;
  }

  body(): Promise<Uint8Array> {
    return collectBody(this.#request, this.#limits);
  }

  head({ status, lines, bytes }: Head): void {
    this.#headSent = true;
    const length = bytes === undefined ? {} : { 'content-length': bytes };
    this.#answer(new Response(this.#stream, { status, headers: toHeaders({ ...fieldsOf(lines), ...length }) }));
  }

  write(bytes: Uint8Array | string): boolean {
    if (this.#over || this.control.signal.aborted) return true;
    this.#body?.enqueue(typeof bytes === 'string' ? encoder.encode(bytes) : bytes);
    return (this.#body?.desiredSize ?? 1) > 0;
  }

  onDrain(listener: () => void): void {
    this.#onDrain = listener;
  }

  end(bytes?: Uint8Array | string): void {
    if (bytes !== undefined) this.write(bytes);
    if (!this.#over && !this.control.signal.aborted) this.#body?.close();
    this.#over = true;
  }
}
