/** The statements that post closed calls: insert the calls, sum what was really inserted, write entries, update balances. */
import { v7 as uuidv7 } from 'uuid';
import type { Sql } from '../db/connect.ts';
import { columnsOf } from './record.ts';
import { inTransaction } from './retry.ts';

/** Posts a JSON list of calls (records by record.ts, whose order of columns it is). Those that are there already change nothing. */
export async function postCalls(sql: Sql, calls: string): Promise<void> {
  await sql`
    with fresh as (
      insert into call (
        id, account_id, key_id, lease_id, endpoint, model, streamed, held_nanousd, price_version,
        worker_id, operator_id, region, outcome, attempts, prompt_tokens, cached_tokens, completion_tokens,
        charged_nanousd, operator_nanousd, queue_ms, ttft_ms, billed_ms, total_ms
      )
      select (r ->> 0)::uuid, r ->> 1, r ->> 2, r ->> 3, r ->> 4, r ->> 5, (r ->> 6)::boolean, (r ->> 7)::bigint,
        (r ->> 8)::integer, r ->> 9, r ->> 10, r ->> 11, r ->> 12, (r ->> 13)::integer, (r ->> 14)::integer,
        (r ->> 15)::integer, (r ->> 16)::integer, (r ->> 17)::bigint, (r ->> 18)::bigint, (r ->> 19)::integer,
        (r ->> 20)::integer, (r ->> 21)::integer, (r ->> 22)::integer
      from jsonb_array_elements(${calls}::text::jsonb) as r
      on conflict (id) do nothing
      returning account_id, model, lease_id, operator_id, prompt_tokens, cached_tokens, completion_tokens, billed_ms,
        charged_nanousd, operator_nanousd
    ), movement as (
      select account_id, sum(amount)::bigint as amount from (
        select lease_id as account_id, -charged_nanousd as amount from fresh
        union all select operator_id, operator_nanousd from fresh where operator_id is not null
        union all select 'revenue', charged_nanousd - operator_nanousd from fresh
      ) side group by account_id having sum(amount) <> 0
    ), posting as (
      insert into txn (id, kind) select ${uuidv7()}::uuid, 'settle' where exists (select from movement) returning id
    ), posted as (
      insert into entry (txn_id, account_id, amount) select posting.id, m.account_id, m.amount from posting, movement m
    ), locked as (
      -- In the order of their ids, so that gateways which settle at once wait for each other and never deadlock.
      select id from account where id in (select account_id from movement) order by id for no key update
    ), rolled as (
      insert into usage_minute as u (
        account_id, minute, model, calls, prompt_tokens, cached_tokens, completion_tokens, billed_ms, charged_nanousd
      )
      select account_id, date_trunc('minute', now()), model, count(*), sum(prompt_tokens), sum(cached_tokens),
        sum(completion_tokens), sum(billed_ms), sum(charged_nanousd)
      from fresh, (select count(*) from locked) accounts group by account_id, model order by account_id, model
      on conflict (account_id, minute, model) do update set calls = u.calls + excluded.calls,
        prompt_tokens = u.prompt_tokens + excluded.prompt_tokens, cached_tokens = u.cached_tokens + excluded.cached_tokens,
        completion_tokens = u.completion_tokens + excluded.completion_tokens, billed_ms = u.billed_ms + excluded.billed_ms,
        charged_nanousd = u.charged_nanousd + excluded.charged_nanousd
    ), budgeted as (
      select budget, sum(charged)::bigint as amount from (
        select lease_id, sum(charged_nanousd) as charged from fresh where charged_nanousd > 0 group by lease_id
      ) spent join lease l on l.id = spent.lease_id and l.budgets is not null, unnest(l.budgets) as budget group by budget
    ), bound as (
      select b.id from budget b, (select count(*) from locked) accounts where b.id in (select budget from budgeted)
      order by b.id for no key update of b
    ), counted as (
      update budget b set spent = b.spent + budgeted.amount, leased = b.leased - budgeted.amount
      from budgeted, bound where b.id = budgeted.budget and bound.id = b.id
    )
    update account a set balance = a.balance + m.amount
    from movement m, locked where a.id = m.account_id and locked.id = a.id`;
}

/**
 * Posts one call whose escrow does not cover it: another life of the instance returned the lease before this record was
 * found. The lease is filled up from the agent's prepaid money and, beyond that, from our own: a loss is never the agent's.
 */
export async function postShortCall(sql: Sql, call: string, reason: string): Promise<void> {
  const record = JSON.stringify(columnsOf(call));
  await inTransaction(sql, async (tx) => {
    await tx`
      with short as (
        select r.id, r.lease_id, r.account_id, r.charged_nanousd - a.balance as amount
        from jsonb_to_record(${record}::text::jsonb) as r (id uuid, account_id text, lease_id text, charged_nanousd bigint)
        join account a on a.id = r.lease_id
        where r.charged_nanousd > a.balance and not exists (select from call c where c.id = r.id)
        for no key update of a
      ), prepaid as (
        select a.id, least(a.balance, s.amount) as amount from account a join short s on a.id = s.account_id
        for no key update of a
      ), movement as (
        select id as account_id, -amount as amount from prepaid where amount > 0
        union all
        select 'shortfall', -(s.amount - p.amount) from short s, prepaid p where s.amount > p.amount
        union all
        select lease_id, amount from short
      ), filling as (
        insert into txn (id, kind) select ${uuidv7()}::uuid, 'grant' where exists (select from short) returning id
      ), posted as (
        insert into entry (txn_id, account_id, amount) select f.id, m.account_id, m.amount from filling f, movement m
      ), leased as (
        update lease l set granted = l.granted + s.amount from short s where l.id = s.lease_id returning l.budgets, s.amount
      ), counted as (
        update budget b set leased = b.leased + l.amount,
          overrun = greatest(b.overrun, b.spent + b.leased + l.amount - b.limit_nanousd)
        from leased l where b.id = any(l.budgets)
      ), filed as (
        insert into settle_exception (call_id, reason, record) select id, ${reason}, ${record}::text::jsonb from short
        on conflict (call_id) do nothing
      )
      update account a set balance = a.balance + m.amount from movement m where a.id = m.account_id`;
    await postCalls(tx, `[${call}]`);
  });
}

/** Notes a call that cannot be posted, for the host to look at; moves nothing. */
export async function fileCall(sql: Sql, call: string, reason: string): Promise<void> {
  await sql`
    insert into settle_exception (call_id, reason, record)
    select (record ->> 'id')::uuid, ${reason}, record from (select ${JSON.stringify(columnsOf(call))}::text::jsonb as record) filed
    on conflict (call_id) do nothing`;
}
