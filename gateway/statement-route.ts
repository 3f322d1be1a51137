/** GET /v1/statements and /operator/v1/statements: what moved an agent's or an operator's money in a period. */
import { z } from 'zod';
import { archivedUntil } from '../db/archive.ts';
import { settledUntil, statementLines } from '../payments/statements.ts';
import { apiError } from './errors.ts';
import type { Gateway } from './platform.ts';
import { defineRoute } from './route.ts';
import { moment } from './route-schemas.ts';
import { settled } from './settled.ts';
import { type StatementFormat, statementText, statementTypes } from './statement.ts';

/** Statements that are read now, in this process. */
let open = 0;

const query = z.strictObject({
  from: moment.optional(),
  to: moment.optional(),
  format: z.enum(['csv', 'ndjson']).optional(),
});

const example = {
  query: { from: '2026-11-01', to: '2026-12-01', format: 'ndjson' },
  response:
    '{"at":"2026-11-01T00:00:00.000Z","kind":"opening","amount_nanousd":"0","balance_nanousd":"5000000000",…}\n',
};

const UP_TO =
  'in the order of posting. The line `closing` tells up to which moment all is settled, and the balance then; calls settled later stand in the next statement. CSV by `format` or `accept: text/csv`.';

export const getStatement = defineRoute({
  method: 'get',
  path: '/v1/statements',
  summary: `What moved your money from \`from\` (the beginning of the month) to before \`to\` (now): charges, deposits, refunds, withdrawals with their transactions, ${UP_TO}`,
  security: 'agent',
  query,
  response: z.string(),
  contentType: statementTypes.ndjson,
  example,
  handler: ({ gateway, principal, query, accept }) => statementOf(gateway, principal.ownerId, query, accept),
});

export const getOperatorStatement = defineRoute({
  method: 'get',
  path: '/operator/v1/statements',
  summary: `What moved your earnings from \`from\` (the beginning of the month) to before \`to\` (now): what each call brought, refunds, payouts with their transactions, ${UP_TO}`,
  security: 'operator',
  query,
  response: z.string(),
  contentType: statementTypes.ndjson,
  example,
  handler: ({ gateway, principal, query, accept }) => statementOf(gateway, principal.ownerId, query, accept),
});

async function statementOf(
  gateway: Gateway,
  accountId: string,
  asked: z.output<typeof query>,
  accept: string,
): Promise<Response> {
  await settled(gateway);
  const { sql } = gateway.platform.database;
  const until = await settledUntil(sql);
  const to = asked.to === undefined || asked.to > until ? until : asked.to;
  const from = asked.from ?? `${to.slice(0, 7)}-01T00:00:00.000Z`;
  if (from > to)
    throw apiError('invalid_request', 'A statement begins before its end and before now.', { param: 'from' });
  const archived = await archivedUntil(sql);
  if (archived !== null && from <= archived) {
    throw apiError('invalid_request', `Calls up to ${archived} are archived: begin later.`, { param: 'from' });
  }
  if (open >= gateway.platform.config.limits.statementsAtOnce) {
    throw apiError('overloaded', 'Other statements are being read: ask again.', { retryAfterMs: 1_000 });
  }
  const format: StatementFormat = asked.format ?? (/\btext\/csv\b/i.test(accept) ? 'csv' : 'ndjson');
  const lines = statementLines(sql, { accountId, from, to });
  const body = await streamOf(gateway, statementText(lines, format));
  return new Response(body, { headers: { 'content-type': statementTypes[format], 'cache-control': 'no-store' } });
}

/** Reads on as the caller does. The first part is read at once: what is wrong with it is still answered with a status. */
async function streamOf(gateway: Gateway, text: AsyncGenerator<string>): Promise<ReadableStream<Uint8Array>> {
  const parts = untilLate(text, gateway.platform.config.limits.totalMs);
  const encoder = new TextEncoder();
  const first = await parts.next();
  return new ReadableStream({
    start: (controller) => controller.enqueue(encoder.encode(first.value)),
    pull: async (controller) => {
      try {
        const part = await parts.next();
        if (part.done) controller.close();
        else controller.enqueue(encoder.encode(part.value));
      } catch (error) {
        gateway.platform.log.error({ err: error }, 'a statement broke off');
        throw error;
      }
    },
    cancel: async () => void (await parts.return(undefined)),
  });
}

/** Breaks off, and lets the connection go, when nobody reads on for too long. */
async function* untilLate(text: AsyncGenerator<string>, limitMs: number): AsyncGenerator<string, undefined> {
  open++;
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    void text.return(undefined);
  }, limitMs);
  try {
    for await (const part of text) {
      yield part;
      if (late) throw new Error('a statement was not read in time');
    }
  } finally {
    clearTimeout(timer);
    open--;
  }
}
