import type { LiveCall } from './call.ts';
import type { Choice } from './choice.ts';
import type { Exchange } from './exchange.ts';
import { engineDead, type Failure, queueFull } from './failure.ts';
import type { CallFault, FaultRule } from './faults.ts';
import type { Reply } from './reply.ts';

/** Faults that come in before the engine is even asked. */
const AT_ONCE: readonly string[] = ['abort-queued', 'queue-full-late', 'bare-done', 'empty'] satisfies CallFault[];

/** Faults that come in mid-answer: after `afterTokens`, or at the end of an answer that is shorter. */
const IN_THE_MIDDLE: readonly string[] = [
  'engine-error',
  'abort-running',
  'silent',
  'stall',
  'cut',
  'reset',
  'garbage',
] satisfies CallFault[];

const AFTER_TOKENS = 3;
const STALL_MS = 10_000;
const SPLIT_BYTES = 7;
const DRIP = { bytes: 40, ms: 20 };

/** Wraps the reply of a call so that the fault comes to pass in it. */
export function withFault(
  rule: FaultRule,
  reply: Reply,
  call: LiveCall,
  exchange: Exchange,
  streaming: boolean,
): Reply {
  if (rule.fault === 'split') {
    exchange.delivery = { pieceBytes: SPLIT_BYTES, pieceMs: 0 };
    return reply;
  }
  if (rule.fault === 'slow-drip') {
    exchange.delivery = { pieceBytes: DRIP.bytes, pieceMs: rule.ms ?? DRIP.ms };
    return reply;
  }
  return new FaultyReply(rule, reply, call, exchange, streaming);
}

/** Passes an answer on until the fault strikes. */
class FaultyReply implements Reply {
  private readonly rule: FaultRule;
  private readonly reply: Reply;
  private readonly call: LiveCall;
  private readonly exchange: Exchange;
  private readonly streaming: boolean;
  private readonly inTheMiddle: boolean;
  /** `deaf`: nothing more gets through. `stalled`: what comes waits. */
  private state: 'sound' | 'struck' | 'deaf' | 'stalled' = 'sound';
  private late: (() => void)[] = [];

  constructor(rule: FaultRule, reply: Reply, call: LiveCall, exchange: Exchange, streaming: boolean) {
    this.rule = rule;
    this.reply = reply;
    this.call = call;
    this.exchange = exchange;
    this.streaming = streaming;
    this.inTheMiddle = IN_THE_MIDDLE.includes(rule.fault);
  }

  open(): void {
    this.reply.open();
    const { fault, afterTokens } = this.rule;
    if (fault === 'fast-first-token') {
      this.reply.pretend('Well');
    } else if (AT_ONCE.includes(fault) || (this.inTheMiddle && afterTokens === 0)) {
      this.strike();
    }
  }

  said(choice: Choice): void {
    this.pass(() => {
      if (this.rule.fault === 'no-finish') {
        choice.finish = null;
      }
      this.reply.said(choice);
      if (this.rule.fault === 'empty-content') {
        this.reply.blank(choice);
      }
    });
    if (this.call.completionTokens >= (this.rule.afterTokens ?? AFTER_TOKENS)) {
      this.strikeInTheMiddle();
    }
  }

  finished(): void {
    this.strikeInTheMiddle();
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
    if (this.state === 'stalled') {
      this.late.push(action);
    } else if (this.state !== 'deaf') {
      action();
    }
  }

  private strikeInTheMiddle(): void {
    if (this.inTheMiddle && this.state === 'sound') {
      this.strike();
    }
  }

  private strike(): void {
    const { call, exchange, reply, rule } = this;
    if (rule.fault === 'stall') {
      this.stall(rule.ms ?? STALL_MS);
      return;
    }
    if (rule.fault === 'abort-running') {
      this.state = 'struck';
      call.abort();
      return;
    }
    this.state = 'deaf';
    call.leave();
    switch (rule.fault) {
      case 'engine-error':
        reply.failed(engineDead());
        break;
      case 'queue-full-late':
        reply.failed(queueFull());
        break;
      case 'abort-queued':
        reply.expelled();
        break;
      case 'cut':
        exchange.cut();
        break;
      case 'reset':
        exchange.reset();
        break;
      case 'bare-done':
      case 'empty':
      case 'garbage':
        this.endOddly(rule.fault);
        break;
      default:
        break;
    }
  }

  private stall(ms: number): void {
    this.state = 'stalled';
    setTimeout(() => {
      this.state = 'struck';
      for (const action of this.late) {
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
