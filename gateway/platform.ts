import type { Database } from '../db/connect.ts';
import type { LedgerInstance } from '../payments/instance.ts';
import type { OpenList } from '../payments/open-list.ts';
import type { PriceList } from '../payments/prices.ts';
import type { Router } from '../router/dispatch.ts';
import type { Registry } from '../router/registry.ts';
import type { Keyring } from './auth.ts';
import type { Call } from './call.ts';
import type { ChoiceMemory } from './choice-memory.ts';
import type { Config } from './config.ts';
import type { ExpectedOutput } from './expected-output.ts';
import type { Metrics } from './metrics.ts';
import type { OperatorShares } from './operator-shares.ts';
import type { RateLimiter } from './ratelimit.ts';
import type { Replays } from './replays.ts';
import type { PromptRatios } from './usage.ts';
import type { Wallets } from './wallets.ts';

/** Structured logging as pino does it; never a prompt, never a secret. */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** What the runtime gives: Node builds it once (node.ts), Workers from bindings (cloudflare.ts). */
export interface Platform {
  readonly config: Config;
  readonly database: Database;
  readonly log: Log;
  /** Monotonic milliseconds. */
  now(): number;
  random(): number;
  randomBytes(count: number): Uint8Array;
  /** Keeps the runtime alive until background work is done. */
  waitUntil(work: Promise<unknown>): void;
}

/** The running gateway: the platform and what was built upon it. */
export interface Gateway {
  readonly platform: Platform;
  readonly keyring: Keyring;
  readonly prices: PriceList;
  readonly ledger: LedgerInstance;
  /** Null where wallets cannot pay. */
  readonly payments: Wallets | null;
  readonly router: Router;
  readonly registry: Registry;
  readonly rateLimiter: RateLimiter;
  readonly replays: Replays;
  readonly metrics: Metrics;
  readonly promptRatios: PromptRatios;
  readonly expectedOutput: ExpectedOutput;
  readonly choices: ChoiceMemory;
  /** Calls that hold money now, by id. */
  readonly openCalls: OpenList<Call>;
  readonly operatorShares: OperatorShares;
  /** Keeps one tenant's prompts out of another's prefix cache: a secret word per account. */
  cacheSalt(accountId: string): string;
  /** False from the moment a drain begins: nobody new is welcome, and each answer is its connection's last. */
  accepting: boolean;
  /** False soon after it: who calls over a connection that was kept is turned away. */
  serving: boolean;
}
