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
const SERVER_FAULTS = [
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

/** The rule for a call. A fault that refuses at the door is thrown here, as the failure that it answers. */
export function takeFault(rules: FaultRules, exchange: Exchange, body: JsonObject): FaultRule | null {
  const rule = rules.take(exchange, body);
  const refused = rule === null ? null : refusal(rule);
  if (refused !== null) {
    throw refused;
  }
  return rule;
}

function refusal({ fault, status = 500 }: FaultRule): Failure | null {
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
