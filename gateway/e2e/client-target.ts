import OpenAI, { APIError } from 'openai';
import { expect, vi } from 'vitest';
import { z } from 'zod';

/** What the stock client is pointed at. */
export interface ClientTarget {
  /** Ends in `/v1`. */
  readonly baseURL: string;
  readonly apiKey: string;
  readonly model: string;
  /** Tokens that the model's context holds. */
  readonly contextLength: number;
  /** An embedding model, and where it is when elsewhere. */
  readonly embedding: { readonly model: string; readonly baseURL?: string; readonly apiKey?: string };
  /** Addresses of the engines that do the work, whose `/metrics` tell what still runs. */
  readonly engines: readonly string[];
  /** Key of an account without money. Gateway only. */
  readonly poorKey?: string;
  /** Key that may make a few calls a minute. Gateway only. */
  readonly limitedKey?: string;
  /** A model with a price that no worker serves. Gateway only. */
  readonly unservedModel?: string;
}

/** A bare vLLM lacks what the gateway promises beyond it: prices, calls, one shape of errors, single models. */
export type Face = 'engine' | 'gateway';

/** The unmodified client, told not to retry, so that each test sees the first answer. */
export function clientOf({ baseURL, apiKey }: Pick<ClientTarget, 'baseURL' | 'apiKey'>): OpenAI {
  return new OpenAI({ baseURL, apiKey, maxRetries: 0 });
}

/** A short chat request with a fixed seed. */
export function hello(target: ClientTarget) {
  return {
    model: target.model,
    messages: [{ role: 'user' as const, content: 'Hello there' }],
    max_tokens: 8,
    seed: 7,
  };
}

/** A chat request that runs long enough to be interrupted: some hundred tokens. */
export function longTalk(target: ClientTarget) {
  return { ...hello(target), ...beyondOpenAi({ min_tokens: 700 }), max_tokens: 800 };
}

/** Fields of vLLM that the client's types do not know: spread into a request, as its users do in JavaScript. */
export function beyondOpenAi(fields: Record<string, unknown>): Record<string, unknown> {
  return fields;
}

/** Waits until no engine has a call in work; generous, the promise of 100 ms is tested elsewhere. */
export async function untilEnginesRest(target: ClientTarget): Promise<void> {
  const working = async () => {
    const pages = await Promise.all(target.engines.map(async (url) => (await fetch(`${url}/metrics`)).text()));
    const gauges = pages.flatMap((page) => [...page.matchAll(/^vllm:num_requests_(?:running|waiting)\{.*\} (\S+)$/gm)]);
    expect(gauges.length, 'gauges found').toBeGreaterThan(0);
    return gauges.reduce((sum, gauge) => sum + Number(gauge[1]), 0);
  };
  await vi.waitFor(async () => expect(await working()).toBe(0), { timeout: 10_000, interval: 50 });
}

export interface ExpectedError {
  readonly type: new (...args: never[]) => APIError;
  readonly status: number;
  /** The gateway's code; a bare engine has its own. */
  readonly code: string;
  readonly param?: string;
}

/** The client must throw this class with this status; through the gateway every member of the error is there too. */
export async function expectError(
  face: Face,
  answer: PromiseLike<unknown>,
  expected: ExpectedError,
): Promise<APIError> {
  const error = await Promise.resolve(answer).then(
    () => expect.fail('the call should have been refused'),
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof APIError)) throw error;
  expect(error).toBeInstanceOf(expected.type);
  expect(error.status).toBe(expected.status);
  if (face === 'gateway') {
    expect(error.error, 'OpenAI shape').toEqual({
      message: expect.stringMatching(/\S/),
      type: expect.stringMatching(/\S/),
      param: expected.param ?? null,
      code: expected.code,
    });
  }
  return error;
}

/** What the gateway adds to `usage`. */
export const pricedUsage = z.object({
  prompt_tokens: z.int().positive(),
  completion_tokens: z.int().nonnegative(),
  total_tokens: z.int().positive(),
  cost: z.number().positive(),
  faregate: z.object({
    call: z.uuid(),
    charged_nanousd: z.string().regex(/^[0-9]+$/),
    held_nanousd: z.string().regex(/^[0-9]+$/),
    queue_ms: z.number().nonnegative(),
    ttft_ms: z.number().nonnegative(),
    total_ms: z.number().nonnegative(),
    worker: z.string().startsWith('wrk_'),
    region: z.string().min(1),
  }),
});

/** Usage of a priced call: complete, and charged no more than was held. */
export function expectPriced(usage: unknown): z.infer<typeof pricedUsage> {
  const priced = pricedUsage.parse(usage);
  const charged = BigInt(priced.faregate.charged_nanousd);
  expect(charged).toBeLessThanOrEqual(BigInt(priced.faregate.held_nanousd));
  expect(BigInt(Math.round(priced.cost * 1e9))).toBe(charged);
  return priced;
}
