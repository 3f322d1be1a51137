/** Calls that could not be posted as they stood (see `postShortCall`): each is a loss of somebody, for the host to look at. */
import type { Sql } from '../db/connect.ts';
import type { Nanousd } from './money.ts';

export interface SettleException {
  readonly callId: string;
  readonly reason: string;
  readonly accountId: string;
  readonly chargedNanousd: Nanousd;
  /** ISO 8601. */
  readonly at: string;
}

/** Newest call first; `after` is the call of the last exception of the page before. */
export async function listExceptions(
  sql: Sql,
  { limit, after }: { limit: number; after: string | null },
): Promise<{ exceptions: SettleException[]; hasMore: boolean }> {
  const older = after === null ? sql`true` : sql`call_id < ${after}::uuid`;
  const rows = await sql<SettleException[]>`
    select call_id::text as "callId", reason, record ->> 'account_id' as "accountId",
      (record ->> 'charged_nanousd')::bigint as "chargedNanousd",
      to_char(at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as at
    from settle_exception where ${older} order by call_id desc limit ${limit + 1}`;
  return { exceptions: rows.slice(0, limit), hasMore: rows.length > limit };
}
