import type { Call } from './call.ts';
import type { Choice } from './choice.ts';
import type { Exchange } from './exchange.ts';
import {
  badRequest,
  engineDead,
  type Failure,
  queueFull,
  scaling,
  shuttingDown,
  tooManyRequests,
  unauthorized,
  unknownPath,
} from './failure.ts';
import { isObject, type JsonObject } from './fields.ts';
import type { Reply } from './reply.ts';

/** Faults of one call. The table in workers/README.md says what each does to the caller. */
export const CALL_FAULTS = [
  'engine-error',
  'abort-running',
  'abort-queued',
  'silent',
  'stall',
  'cut',
  'reset',
  'split',
  'slow-drip',
  'fail-fast',
  'status',
  'queue-full',
  'queue-full-late',
  'fast-first-token',
  'inflated-usage',
  'wrong-model',
  'no-finish',
  'bare-done',
  'empty',
  'garbage',
  'empty-content',
] as const;

/** Faults of the whole server; they hold until `none` is set. */
export const SERVER_FAULTS = [
  'freeze',
  'engine-dead',
  'sigterm-abort',
  'sigterm-silent',
  'sigterm-drain',
  'front-killed',
] as const;

export type CallFault = (typeof CALL_FAULTS)[number];
export type ServerFault = (typeof SERVER_FAULTS)[number];

/** One fault and its figures. */
export interface FaultRule {
  readonly fault: CallFault | ServerFault;
  /** Calls it hits; null or absent: all, until it is cleared. Of no meaning for faults of the server. */
  readonly count?: number | null;
  /** Tokens that the caller still gets, where the fault comes in mid-answer. Default 3; 0: before the first. */
  readonly afterTokens?: number;
  /** Length of a stall, time between pieces of a drip, time to drain. Default 10,000, 20 and 6,000. */
  readonly ms?: number;
  /** The status that `status` answers. Default 500. */
  readonly status?: number;
  /** What `inflated-usage` multiplies by. Default 10. */
  readonly factor?: number;
}

/** How tests and the control endpoint switch faults on and off. */
export interface FaultControl {
  /** Adds a rule; each call takes the first one that is left. */
  set(rule: FaultRule): void;
  /** Forgets all rules and ends the faults of the server, where that is possible. */
  clear(): void;
  readonly rules: readonly FaultRule[];
}

/** The rules that wait for calls. */
export class FaultRules {
  private waiting: { readonly rule: FaultRule; left: number }[] = [];

  get rules(): readonly FaultRule[] {
    return this.waiting.map(({ rule, left }) => ({ ...rule, count: Number.isFinite(left) ? left : null }));
  }

  add(rule: FaultRule): void {
    this.waiting.push({ rule, left: rule.count ?? Number.POSITIVE_INFINITY });
  }

  clear(): void {
    this.waiting = [];
  }

  /** The rule for a call: its own (header, then body field), else the first that waits. */
  take(exchange: Exchange, body: JsonObject): FaultRule | null {
    const own = exchange.header('x-simulate-fault') ?? body.simulate_fault;
    if (own !== undefined && own !== null) {
      return readRule(typeof own === 'string' && own.startsWith('{') ? JSON.parse(own) : own);
    }
    const [first] = this.waiting;
    if (first === undefined) {
      return null;
    }
    first.left -= 1;
    if (first.left <= 0) {
      this.waiting.shift();
    }
    return first.rule;
  }
}

/** A rule as JSON tells it: a name alone, or an object with snake_case figures. */
export function readRule(value: unknown): FaultRule {
  const given: JsonObject = isObject(value) ? value : { fault: value };
  const fault = [...CALL_FAULTS, ...SERVER_FAULTS].find((name) => name === given.fault);
  if (fault === undefined) {
    throw badRequest(`Unknown fault: ${String(given.fault)}`, 'fault');
  }
  const figure = (name: string): number | undefined => (typeof given[name] === 'number' ? given[name] : undefined);
  const [count, afterTokens, ms, status, factor] = ['count', 'after_tokens', 'ms', 'status', 'factor'].map(figure);
  return {
    fault,
    ...(count === undefined ? {} : { count }),
    ...(afterTokens === undefined ? {} : { afterTokens }),
    ...(ms === undefined ? {} : { ms }),
    ...(status === undefined ? {} : { status }),
    ...(factor === undefined ? {} : { factor }),
  };
}

export function isServerFault(fault: FaultRule['fault']): fault is ServerFault {
  return SERVER_FAULTS.some((name) => name === fault);
}

/** The failure with which a fault refuses a call at the door, if it does. */
export function refusal({ fault, status = 500 }: FaultRule): Failure | null {
  if (fault === 'fail-fast') {
    return engineDead();
  }
  if (fault === 'queue-full') {
    return queueFull();
  }
  if (fault !== 'status') {
    return null;
  }
  const known: Readonly<Record<number, () => Failure>> = {
    400: () => badRequest('The request was refused.'),
    401: unauthorized,
    404: unknownPath,
    429: tooManyRequests,
    503: scaling,
  };
  return (known[status] ?? shuttingDown)();
}

/** Wraps the reply of a call so that the fault comes to pass in it. */
export function withFault(rule: FaultRule, reply: Reply, call: Call, exchange: Exchange, streaming: boolean): Reply {
  const { fault } = rule;
  if (fault === 'split') {
    exchange.delivery = { pieceBytes: 7, pieceMs: 0 };
    return reply;
  }
  if (fault === 'slow-drip') {
    exchange.delivery = { pieceBytes: 40, pieceMs: rule.ms ?? 20 };
    return reply;
  }
  return new FaultyReply(rule, reply, call, exchange, streaming);
}

/** Passes an answer on until the fault strikes. */
class FaultyReply implements Reply {
  private readonly rule: FaultRule;
  private readonly reply: Reply;
  private readonly call: Call;
  private readonly exchange: Exchange;
  private readonly streaming: boolean;
  private struck = false;
  private late: (() => void)[] | null = null;

  constructor(rule: FaultRule, reply: Reply, call: Call, exchange: Exchange, streaming: boolean) {
    this.rule = rule;
    this.reply = reply;
    this.call = call;
    this.exchange = exchange;
    this.streaming = streaming;
  }

  open(): void {
    this.reply.open();
    const { fault, afterTokens } = this.rule;
    if (fault === 'fast-first-token' && this.streaming) {
      this.reply.pretend('Well');
    } else if (fault === 'abort-queued' || fault === 'queue-full-late' || fault === 'bare-done' || fault === 'empty') {
      this.strike();
    } else if (afterTokens === 0) {
      this.strike();
    }
  }

  said(choice: Choice): void {
    this.pass(() => {
      if (this.rule.fault === 'no-finish' && choice.finish !== null) {
        choice.finish = null;
      }
      this.reply.said(choice);
      if (this.rule.fault === 'empty-content' && this.streaming) {
        this.reply.blank(choice);
      }
    });
    if (!this.struck && this.call.completionTokens >= (this.rule.afterTokens ?? 3)) {
      this.strike();
    }
  }

  finished(): void {
    this.pass(() => this.reply.finished());
  }

  failed(failure: Failure): void {
    this.pass(() => this.reply.failed(failure));
  }

  expelled(): void {
    this.pass(() => this.reply.expelled());
  }

  pretend(text: string): void {
    this.pass(() => this.reply.pretend(text));
  }

  blank(choice: Choice): void {
    this.pass(() => this.reply.blank(choice));
  }

  private pass(action: () => void): void {
    if (this.late !== null) {
      this.late.push(action);
    } else if (!(this.struck && this.swallows())) {
      action();
    }
  }

  private swallows(): boolean {
    return ['silent', 'cut', 'reset', 'garbage', 'empty', 'bare-done', 'engine-error', 'queue-full-late'].includes(
      this.rule.fault,
    );
  }

  private strike(): void {
    this.struck = true;
    const { call, exchange, reply, rule } = this;
    switch (rule.fault) {
      case 'engine-error':
        call.leave();
        reply.failed(engineDead());
        break;
      case 'queue-full-late':
        call.leave();
        reply.failed(queueFull());
        break;
      case 'abort-running':
        call.abort();
        break;
      case 'abort-queued':
        call.leave();
        reply.expelled();
        break;
      case 'stall':
        this.stall(rule.ms ?? 10_000);
        break;
      case 'cut':
        call.leave();
        exchange.cut();
        break;
      case 'reset':
        call.leave();
        exchange.reset();
        break;
      case 'bare-done':
      case 'empty':
      case 'garbage':
        call.leave();
        this.endOddly(rule.fault);
        break;
      default:
        break;
    }
  }

  private stall(ms: number): void {
    this.late = [];
    setTimeout(() => {
      const actions = this.late ?? [];
      this.late = null;
      for (const action of actions) {
        action();
      }
    }, ms);
  }

  private endOddly(fault: 'bare-done' | 'empty' | 'garbage'): void {
    const { exchange } = this;
    if (!this.streaming) {
      exchange.text(200, fault === 'garbage' ? '{"id":' : '', { 'content-type': 'application/json' });
      return;
    }
    if (fault !== 'empty') {
      exchange.sendEvent(fault === 'garbage' ? '{"id":' : '[DONE]');
    }
    exchange.endStream();
  }
}
