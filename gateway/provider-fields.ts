/** The `provider` object as /openapi.json shows it. */
import { z } from 'zod';
import { sorts } from '../router/policy.ts';
import { parseProvider } from './provider.ts';

const rule = z.strictObject({
  operators: z.array(z.string()).optional(),
  workers: z.array(z.string()).optional(),
  countries: z.array(z.string()).optional().describe('ISO 3166 codes'),
});

/** What a call asks for, or a key asks for on all its calls; `parseProvider` judges it. */
export const providerOption = z
  .strictObject({
    sort: z.enum(sorts).optional(),
    max_price: z
      .strictObject({ prompt: z.number().optional(), completion: z.number().optional() })
      .optional()
      .describe('USD per million tokens'),
    max_ttft_ms: z.number().optional().describe('longest predicted time to the first content'),
    deadline_ms: z.number().optional().describe('longest time of the whole call'),
    allow: rule.optional(),
    deny: rule.optional(),
  })
  .optional();

export type ProviderFields = NonNullable<z.infer<typeof providerOption>>;

export const keyProvider = providerOption.describe(
  'what all calls of the key, and of keys made of it, want of the worker',
);

/** What is stored of a key's wishes. Throws `invalid_request` on a wish that no call could make. */
export function providerText(fields: ProviderFields | undefined): string | null {
  if (fields === undefined) return null;
  parseProvider(undefined, fields);
  return JSON.stringify(fields);
}
