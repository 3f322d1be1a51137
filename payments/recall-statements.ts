/** How one lease calls in what others hold of the same money and do not use; leases.ts says when. */
import type { Sql } from '../db/connect.ts';
import { leftNow, textArray } from './budgets.ts';
import type { LeaseOf } from './lease-statements.ts';
import type { Nanousd } from './money.ts';

/** Every instance listens here; the payload is a Recall as JSON. */
export const RECALLS = 'faregate_recalls';

export interface Recall {
  readonly account: string;
  /** The lease that lacks money. */
  readonly asker: string;
  /** Only what is leased under one of these is of use; null: whatever is leased of the account. */
  readonly budgets: readonly string[] | null;
}

/** Nobody waits for long for an instance that has left a recall without an answer for this long. */
const SILENT_MS = 2_000;

/** A lease that was asked for what its holder does not use. `silent`: the holder is dead or cut off, or was so until just now. */
export interface Asked {
  readonly id: string;
  readonly silent: boolean;
}

/**
 * Calls on the holders of the account's other leases to give back what they do not use: on all of them where the account itself lacks
 * `need`, otherwise on those under a budget that does. Leases of a life that ended are among them: the next life is giving them back.
 * `back`: enough came back before anybody could be asked, or a holder gave all back while this waited for it.
 * A statement of its own: one that waited for the prepaid row would not see who took the money meanwhile.
 */
export async function recall(
  sql: Sql,
  { leaseId, accountId, budgets }: LeaseOf,
  need: Nanousd,
): Promise<{ asked: readonly Asked[]; back: boolean }> {
  const rows = await sql<({ back: boolean } & (Asked | { id: null }))[]>`
    with short as (
      select case when a.balance >= ${need.toString()}::numeric then array(
        select b.id from budget b where b.id = any(${textArray(budgets)}::text[]) and ${leftNow(sql)} < ${need.toString()}::numeric
      ) end as budgets
      from account a where a.id = ${accountId}
    ), seen as (
      select l.id from lease l, account a, short
      where l.account_id = ${accountId} and l.state = 'open' and l.id <> ${leaseId}
        and coalesce(l.budgets && short.budgets, short.budgets is null)
        and a.id = l.id and a.balance > 0
    ), holders as (
      select l.id from lease l, seen where l.id = seen.id and l.state = 'open' order by l.id for no key update of l
    ), asked as (
      update lease l set recalled = l.recalled + 1,
        recalled_at = case when l.answered < l.recalled then l.recalled_at else now() end
      from holders where l.id = holders.id
      returning l.id, l.recalled_at < now() - ${SILENT_MS} * interval '1 millisecond' as silent
    )
    select asked.*, coalesce(short.budgets = '{}', false)
      or (select count(*) from seen) > (select count(*) from holders) as back, case when asked.id is not null then pg_notify(${RECALLS},
      json_build_object('account', ${accountId}::text, 'asker', ${leaseId}::text, 'budgets', short.budgets)::text) end
    from short left join asked on true`;
  return { asked: rows.filter((row) => row.id !== null), back: rows.some(({ back }) => back) };
}

/** Whether any of the leases still owes its answer to a recall. */
export async function unanswered(sql: Sql, leases: readonly Asked[]): Promise<boolean> {
  const rows = await sql`
    select from lease where id in ${sql(leases.map(({ id }) => id))} and state = 'open' and answered < recalled limit 1`;
  return rows.length > 0;
}
