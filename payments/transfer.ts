/** Moves money between two accounts, as a part of something else. */
import { v7 as uuidv7 } from 'uuid';
import type { Sql } from '../db/connect.ts';
import type { Nanousd } from './money.ts';

export interface Transfer {
  readonly kind: string;
  readonly ref: string;
  readonly from: string;
  readonly to: string;
  readonly amount: Nanousd;
}

/** In a transaction: whatever makes it be done once is there too. */
export async function transfer(tx: Sql, { kind, ref, from, to, amount }: Transfer): Promise<void> {
  // In the order of their ids, as everybody locks accounts.
  await tx`select from account where id in (${from}, ${to}) order by id for no key update`;
  await tx`
    with posting as (
      insert into txn (id, kind, ref) values (${uuidv7()}, ${kind}, ${ref}) returning id
    ), movement (account_id, amount) as (
      values (${to}, ${amount}::bigint), (${from}, ${-amount}::bigint)
    ), posted as (
      insert into entry (txn_id, account_id, amount) select p.id, m.account_id, m.amount from posting p, movement m
    )
    update account a set balance = a.balance + m.amount from movement m where a.id = m.account_id`;
}
