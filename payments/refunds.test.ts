import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Sql } from '../db/connect.ts';
import { testDatabase } from '../db/testing.ts';
import { getCall } from './calls.ts';
import type { LedgerInstance } from './instance.ts';
import { balances, createOperator, earnings } from './ledger.ts';
import { settlePayout } from './payouts/booking.ts';
import { setPayoutAddress } from './payouts/operators.ts';
import { booked } from './payouts/testing.ts';
import { refundCall } from './refunds.ts';
import { closing, fundedAgent, held, testInstance } from './testing.ts';

interface Charged {
  readonly accountId: string;
  readonly operatorId: string;
  readonly callId: string;
}

/** A settled call of this charge, of which the operator has nine tenths. */
async function chargedCall(sql: Sql, instance: LedgerInstance, charge: number): Promise<Charged> {
  const accountId = await fundedAgent(sql, 10_000n);
  const { id: operatorId } = await createOperator(sql, { name: 'operator', sharePpm: 900_000 });
  const hold = await held(instance, accountId, BigInt(charge));
  await hold.capture(closing(charge, { operatorId, operatorSharePpm: 900_000 }));
  await instance.settler.drain();
  return { accountId, operatorId, callId: hold.callId };
}

/** Pays out what an operator has, as the chain would have done it. */
async function payOut(sql: Sql, operatorId: string): Promise<void> {
  const treasury = { network: 'eip155:84532', asset: '0xa55e7', address: '0x7ea5' };
  await setPayoutAddress(sql, operatorId, '0x0be7');
  const { id } = await booked(sql, treasury, operatorId);
  await settlePayout(sql, id, '0xdeed');
}

const total = ({ prepaid, escrow }: { prepaid: bigint; escrow: bigint }) => prepaid + escrow;

test('fifty copies of one refund, sent at once, give the money back once; the call says so', async () => {
  await using database = await testDatabase({ max: 20 });
  const { sql } = database;
  const instance = await testInstance(sql, null);
  const { accountId, operatorId, callId } = await chargedCall(sql, instance, 1_000);
  const refund = () => refundCall(sql, { callId, amount: 400n, reason: 'slow', reference: 'ticket 1' });
  const answers = await Promise.all(Array.from({ length: 50 }, refund));
  expect(new Set(answers.map((answer) => JSON.stringify(answer, (_, value) => String(value)))).size).toBe(1);
  expect(answers[0]).toMatchObject({ amount: 400n, operatorAmount: 360n, refundable: 600n });
  expect(total(await balances(sql, accountId))).toBe(9_400n);
  expect((await earnings(sql, operatorId)).pending).toBe(540n);
  expect(await getCall(sql, accountId, callId)).toMatchObject({ chargedNanousd: 1_000n, refundedNanousd: 400n });
  await instance.close();
});

test('all refunds of a call together never exceed its charge, however many come at once', async () => {
  await using database = await testDatabase({ max: 20 });
  const { sql } = database;
  const instance = await testInstance(sql, null);
  const { accountId, callId } = await chargedCall(sql, instance, 1_000);
  const outcomes = await Promise.all(
    Array.from({ length: 20 }, (_, n) =>
      refundCall(sql, { callId, amount: 300n, reason: 'slow', reference: `ticket ${n}` }),
    ),
  );
  expect(outcomes.filter((outcome) => !('code' in outcome)).length).toBe(3);
  expect(outcomes).toContainEqual({ code: 'above_charge', refundable: 100n });
  expect(total(await balances(sql, accountId))).toBe(9_900n);
  await instance.close();
});

test('another amount under a used reference and a call that does not exist are refused', async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const instance = await testInstance(sql, null);
  const { callId } = await chargedCall(sql, instance, 1_000);
  const request = { callId, amount: 10n, reason: 'slow', reference: 'ticket' };
  await refundCall(sql, request);
  expect(await refundCall(sql, { ...request, amount: 11n })).toEqual({ code: 'reference_conflict' });
  const nobody = '0198f3a5-6b70-7c81-9d92-a3b4c5d6e7f8';
  expect(await refundCall(sql, { ...request, callId: nobody })).toEqual({ code: 'call_not_found' });
  await instance.close();
});

test('however a charge is cut into refunds, the operator gives exactly its share of what was given back', async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const instance = await testInstance(sql, null);
  const parts = fc.array(fc.integer({ min: 1, max: 150 }), { minLength: 1, maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(parts, async (amounts) => {
      const { operatorId, callId } = await chargedCall(sql, instance, 999);
      const { pending } = await earnings(sql, operatorId);
      let given = 0n;
      for (const [n, amount] of amounts.entries()) {
        given += BigInt(amount);
        await refundCall(sql, { callId, amount: BigInt(amount), reason: 'part', reference: `part ${n}` });
        expect((await earnings(sql, operatorId)).pending).toBe(pending - (pending * given) / 999n);
      }
    }),
    { numRuns: 20 },
  );
  await instance.close();
});

test('what an operator was paid already the host gives, and what the host never earned the shortfall', async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const instance = await testInstance(sql, null);
  const { accountId, operatorId, callId } = await chargedCall(sql, instance, 10_000);
  await payOut(sql, operatorId);
  const refund = await refundCall(sql, { callId, amount: 10_000n, reason: 'wrong model', reference: 'ticket' });
  expect(refund).toMatchObject({ operatorAmount: 0n, refundable: 0n });
  expect(total(await balances(sql, accountId))).toBe(10_000n);
  const rows = await sql`select id, balance from account where id in ('revenue', 'shortfall') order by id`;
  expect(rows.map(({ balance }) => balance)).toEqual([0n, -9_000n]);
  await instance.close();
});
