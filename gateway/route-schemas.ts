/** The pieces that requests and answers of ordinary routes are made of. */
import { z } from 'zod';
import { parseNanousd } from '../payments/money.ts';

/** Money in an answer: a whole number of nano-USD as a decimal string. */
export const money = z
  .string()
  .regex(/^-?\d+$/)
  .describe('nano-USD, a whole number as a decimal string');

/** Money in a request: the same, or a JSON integer. */
export const amount = z
  .union([z.string().regex(/^\d{1,19}$/), z.int().min(0)], 'expected a whole number of nano-USD, not negative')
  .describe('nano-USD, a whole number as a decimal string or a JSON integer')
  .transform((value, context) => {
    const parsed = parseNanousd(String(value));
    if (parsed !== null) return parsed;
    context.addIssue('expected a whole number of nano-USD below 2^63');
    return z.NEVER;
  });

/** A name or reference that people read. */
export const label = z
  .string()
  .regex(/^[^\p{Cc}]{1,200}$/u, 'expected 1 to 200 characters, none of them a control character');

/** A model's name, such as `meta-llama/Llama-3.1-8B-Instruct`. */
export const modelName = z.string().regex(/^[^\s\p{Cc}]{1,200}$/u, 'expected 1 to 200 characters without spaces');

/** A date or time in a request, as UTC. */
export const moment = z
  .union([z.iso.datetime({ offset: true }), z.iso.date()], 'expected a date or a time such as 2026-11-01T00:00:00Z')
  .transform((text) => new Date(text).toISOString());

/** The place in a list: `after` is the id of the last entry that the caller has. */
export const page = z.strictObject({
  limit: z.coerce.number().int().min(1).max(100).default(20),
  after: z
    .string()
    .regex(/^[\w-]{1,64}$/, 'expected the id of an entry')
    .optional(),
});

/** A page of a list. */
export function listOf<Entry extends z.ZodType>(entry: Entry) {
  return z.strictObject({ object: z.literal('list'), data: z.array(entry), has_more: z.boolean() });
}

/** The answer to a removal. */
export const deleted = z.strictObject({ id: z.string(), deleted: z.literal(true) });

/** Says that the thing of this id is gone. */
export function deletion(id: string): z.input<typeof deleted> {
  return { id, deleted: true };
}
