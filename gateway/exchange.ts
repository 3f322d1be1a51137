import type { EndControl } from '../router/ending.ts';
import { type ApiError, apiError } from './errors.ts';

/** The head of an answer. As text: an object of its twenty fields would cost a call more to make and to write than its choice of a worker. */
export interface Head {
  readonly status: number;
  /** Its fields as HTTP/1.1 writes them, a line for each, without those that say where the body ends and whether the connection stays. */
  readonly lines: string;
  /** How long the body is, where that is known before it. */
  readonly bytes?: number;
  /** The caller is to come back over another connection. */
  readonly closes?: boolean;
}

/** Where the answer to one request goes. */
export interface Responder {
  /** Aborted with `CallerLeft` when the caller goes before the end of the answer; whoever ends the call may abort it too. */
  readonly control: EndControl;
  /** True once `head` was called: from then on an error can only travel in the stream. */
  readonly headSent: boolean;
  head(head: Head): void;
  /** Returns false when the caller reads too slowly: hold back until `onDrain` calls. */
  write(bytes: Uint8Array | string): boolean;
  onDrain(listener: () => void): void;
  end(bytes?: Uint8Array | string): void;
  /** Whether the caller who left has asked the same again, so that another call is charged in place of this one. Absent: no. */
  askedAgain?(): Promise<boolean>;
}

/**
 * One call's transport as completions.ts sees it. On Node it is the caller's own socket where the request is plain, else node:http's request and
 * response (Request and Response objects cost nearly five times as much as a bare pass-through), on Workers a stream.
 */
export interface Exchange extends Responder {
  header(name: string): string | undefined;
  /** The whole body; a promise where it is not here yet. Throws `body_too_large` or `request_timeout`. */
  body(): Uint8Array | Promise<Uint8Array>;
}

/** Why a call ends before its answer does. */
export class CallerLeft extends Error {
  override readonly name = 'CallerLeft';

  constructor(options?: ErrorOptions) {
    super('the caller closed the connection', options);
  }
}

export class DeadlineExceeded extends Error {
  override readonly name = 'DeadlineExceeded';
}

export class Draining extends Error {
  override readonly name = 'Draining';
}

export function bodyTimeout(bodyMs: number): ApiError {
  return apiError('request_timeout', `The body did not arrive within ${bodyMs} ms.`);
}
