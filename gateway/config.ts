/** The environment, read once and all mistakes reported together; and the named limits. The only reader of process.env. */
import { z } from 'zod';
import type { PaymentsConfig } from '../payments/methods/open.ts';
import { paymentsConfig, paymentsEnvironment, requireWhole } from './config-payments.ts';
import { defaultRequestLimits } from './request-checks.ts';

/** Every limit that a caller can meet. README.md shows this table. */
export const limits = {
  ...defaultRequestLimits,
  bodyBytes: 10 * 1024 * 1024,
  headMs: 10_000,
  bodyMs: 30_000,
  connectMs: 2_000,
  /** Longest wait in the gateway for room at a worker. */
  queueMs: 5_000,
  firstContentMs: 60_000,
  idleMs: 30_000,
  totalMs: 600_000,
  /** A hold outlives its call's total time by this much. */
  holdGraceMs: 60_000,
  /** While so many calls wait to be settled, about 100 MB of them, no others begin. */
  unsettledCalls: 100_000,
  /** A stream's head leaves after this wait, with a comment line; further comments follow. */
  headWaitMs: 5_000,
  keepAliveMs: 10_000,
  drainMs: 30_000,
  attempts: 3,
  /** How long, and in how much memory, answers are kept for callers who ask the same again. */
  replayMs: 600_000,
  replayBytes: 64 * 1024 * 1024,
  /** A call that a stock client dropped before its answer began waits this long for the client's retry. */
  rejoinMs: 2_000,
  /** Of a stream that was cut off within this much, the client may have seen nothing. */
  lostHeadBytes: 8 * 1024,
  /** Keys that agents make: how deep below each other, and how many in force directly below one. */
  keyDepth: 3,
  keysBelow: 100,
  /** Each statement holds a connection while its caller reads: the others are the ledger's. */
  statementsAtOnce: 2,
  requestsPerMinute: 6_000,
  tokensPerMinute: 10_000_000,
  openStreams: 256,
  /** Counted against the token limit for an answer whose length the caller left open. */
  assumedOutputTokens: 1_024,
  /** An answer cut to what the balance affords is not worth having below this. */
  clampTokensMin: 16,
  /** How long a request waits for its payment to arrive, and how many are settled at once, in all and for one payer. */
  paymentMs: 30_000,
  paymentsAtOnce: 256,
  paymentsPerPayer: 32,
} as const;

export type Limits = { readonly [name in keyof typeof limits]: number };

const flag = z.enum(['0', '1']).transform((text) => text === '1');

const environment = z
  .object({
    ...paymentsEnvironment,
    FAREGATE_HOST: z.string().min(1).default('127.0.0.1'),
    FAREGATE_PORT: z.coerce.number().int().min(0).max(65_535).default(8787),
    DATABASE_URL: z.url({ protocol: /^postgres(ql)?$/ }).optional(),
    FAREGATE_DATA_DIR: z.string().min(1).default('.faregate'),
    FAREGATE_ADMIN_KEY: z.string().startsWith('fg_adm_').optional(),
    FAREGATE_ACK: z.enum(['page', 'disk', 'database']).default('page'),
    FAREGATE_PROCESSES: z.coerce.number().int().min(1).max(64).default(1),
    /** Set by the gateway itself for each of its processes. */
    FAREGATE_PROCESS_NUMBER: z.coerce.number().int().min(1).optional(),
    /** Set by the Workers entry itself: there are no keys there. */
    FAREGATE_KEYLESS: flag.default(false),
    FAREGATE_REGION: z.string().min(1).default('local'),
    FAREGATE_LOG: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'silent']).default('info'),
    FAREGATE_ALLOW_PRIVATE_WORKERS: flag.default(false),
    FAREGATE_HEDGE: flag.default(false),
    FAREGATE_KEEP_MONTHS: z.coerce.number().int().min(2).optional(),
    FAREGATE_CORS_ORIGINS: z
      .string()
      .transform((text) => text.split(',').map((origin) => origin.trim()))
      .pipe(z.array(z.url()))
      .optional(),
    FAREGATE_URL: z.url().optional(),
    FAREGATE_VLLM_URL: z.url().optional(),
    FAREGATE_VLLM_KEY: z.string().min(1).optional(),
  })
  .superRefine((values, context) => requireWhole(values, values.FAREGATE_KEYLESS, context));

export interface Config {
  readonly host: string;
  readonly port: number;
  readonly databaseUrl: string | undefined;
  readonly dataDir: string;
  readonly adminKey: string | undefined;
  readonly ack: 'page' | 'disk' | 'database';
  readonly processes: number;
  /** Which of several processes this is, from 1; null where there is only one. */
  readonly processNumber: number | null;
  readonly region: string;
  readonly logLevel: string;
  readonly allowPrivateWorkers: boolean;
  /** A late worker's call is sent to another one as well. */
  readonly hedge: boolean;
  /** Whole months of calls that stay in the database; null: all. */
  readonly keepMonths: number | null;
  readonly corsOrigins: readonly string[];
  /** Where `faregate admin` finds the gateway. */
  readonly gatewayUrl: string | undefined;
  /** A real vLLM that the demo registers beside its simulators. */
  readonly vllmUrl: string | undefined;
  readonly vllmKey: string | undefined;
  /** How wallets pay; null: they do not. */
  readonly payments: PaymentsConfig | null;
  readonly limits: Limits;
}

/** Reads the configuration. Throws one error that names every mistake. */
export function readConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const set = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ''));
  const parsed = environment.safeParse(set);
  if (!parsed.success) {
    const mistakes = parsed.error.issues.map((issue) => `  ${issue.path.join('.')}: ${issue.message}`);
    throw new Error(`the configuration has mistakes:\n${mistakes.join('\n')}`);
  }
  const values = parsed.data;
  return Object.freeze({
    host: values.FAREGATE_HOST,
    port: values.FAREGATE_PORT,
    databaseUrl: values.DATABASE_URL,
    dataDir: values.FAREGATE_DATA_DIR,
    adminKey: values.FAREGATE_ADMIN_KEY,
    ack: values.FAREGATE_ACK,
    processes: values.FAREGATE_PROCESSES,
    processNumber: values.FAREGATE_PROCESS_NUMBER ?? null,
    region: values.FAREGATE_REGION,
    logLevel: values.FAREGATE_LOG,
    allowPrivateWorkers: values.FAREGATE_ALLOW_PRIVATE_WORKERS,
    hedge: values.FAREGATE_HEDGE,
    keepMonths: values.FAREGATE_KEEP_MONTHS ?? null,
    corsOrigins: values.FAREGATE_CORS_ORIGINS ?? [],
    gatewayUrl: values.FAREGATE_URL,
    vllmUrl: values.FAREGATE_VLLM_URL,
    vllmKey: values.FAREGATE_VLLM_KEY,
    payments: paymentsConfig(values),
    limits,
  });
}
