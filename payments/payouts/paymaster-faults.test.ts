import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { type TestDatabase, testDatabase } from '../../db/testing.ts';
import { type LocalChain, type LocalWallet, startLocalChain } from '../chain/local.ts';
import { startFaultyRpc } from '../chain/testing-rpc.ts';
import { type Payout, settlePayout } from './booking.ts';
import { booked, earningOperator, testPaymaster, treasuryOf } from './testing.ts';

const TREASURY_UNITS = 1_000_000n;
const AMOUNT_NANOUSD = 12_000;
const UNITS = 12n;

interface World {
  readonly chain: LocalChain;
  readonly database: TestDatabase;
  readonly treasury: LocalWallet;
  readonly payers: readonly LocalWallet[];
  readonly payees: readonly LocalWallet[];
  readonly payouts: readonly Payout[];
}

/** So many operators with a booked payout each; at the end each has it once, on the chain and in the books. */
async function withPayouts(count: number, work: (world: World) => Promise<void>): Promise<void> {
  await using chain = await startLocalChain();
  await using database = await testDatabase({ max: 10 });
  const treasury = await chain.wallet({ usdc: TREASURY_UNITS, wei: 0n });
  const payers = [await chain.wallet()];
  const payees: LocalWallet[] = [];
  const payouts: Payout[] = [];
  for (let number = 0; number < count; number++) {
    const payee = await chain.wallet({ wei: 0n });
    const operator = await earningOperator(database.sql, AMOUNT_NANOUSD, payee.address);
    payees.push(payee);
    payouts.push(await booked(database.sql, treasuryOf(chain, treasury), operator));
  }
  await work({ chain, database, treasury, payers, payees, payouts });
  for (const { address } of payees) expect(await chain.usdcOf(address)).toBe(UNITS);
  expect(await chain.usdcOf(treasury.address)).toBe(TREASURY_UNITS - UNITS * BigInt(count));
  const rows = await database.sql<{ state: string; booked: bigint }[]>`
    select p.state, (select count(*) from txn t where t.kind = 'payout_paid' and t.ref = p.account_id || ':' || p.id) as booked
    from payout p`;
  expect(rows).toEqual(Array.from({ length: count }, () => ({ state: 'paid', booked: 1n })));
}

/** A paymaster in a process of its own. */
function spawnPaymaster({ database, treasury, payers }: World, rpcUrl: string): ChildProcess {
  const program = fileURLToPath(new URL('./testing-child.ts', import.meta.url));
  const keys = [treasury.privateKey, payers[0]?.privateKey ?? ''];
  const child = spawn(process.execPath, [program, database.url, rpcUrl, ...keys], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  return child;
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
}

async function until(happened: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await happened())) await new Promise((resolve) => setTimeout(resolve, 10));
}

test('T27: three processes that pay the same payouts at once move the money of each once', async () => {
  await withPayouts(20, async (world) => {
    const children = [1, 2, 3].map(() => spawnPaymaster(world, world.chain.url));
    await Promise.all(children.map(ended));
    expect(children.map(({ exitCode }) => exitCode)).toEqual([0, 0, 0]);
  });
});

test('T27: a payout whose process is killed right after the broadcast, before it knew, is paid once by the next', async () => {
  await withPayouts(3, async (world) => {
    await using rpc = await startFaultyRpc(world.chain.url);
    rpc.lose('eth_sendRawTransaction', 1_000);
    const first = spawnPaymaster(world, rpc.url);
    await until(() => rpc.lost > 0);
    first.kill('SIGKILL');
    await ended(first);
    const next = spawnPaymaster(world, world.chain.url);
    await ended(next);
    expect(next.exitCode).toBe(0);
  });
});

test.each([
  ['the claim', 'eth_call'],
  ['the price of gas', 'eth_getBlockByNumber'],
  ['the proof', 'eth_getLogs'],
])('T27: killed at %s, nothing is lost and nothing is paid twice', async (_, method) => {
  await withPayouts(2, async (world) => {
    await using rpc = await startFaultyRpc(world.chain.url);
    rpc.lose(method, 1_000);
    const first = spawnPaymaster(world, rpc.url);
    await until(() => rpc.lost > 1);
    first.kill('SIGKILL');
    await ended(first);
    await ended(spawnPaymaster(world, world.chain.url));
  });
});

test('blocks that are held back, batches sent again and again: each payout is paid once', async () => {
  await withPayouts(4, async (world) => {
    const { chain, database } = world;
    const { paymaster, sender, finish } = testPaymaster({ ...world, sql: database.sql, retryMs: 0 });
    await chain.client.setAutomine(false);
    for (let round = 0; round < 3; round++) {
      await paymaster.round();
      await sender.tendOnce();
      // A moment, as a claim must be older than nothing at all.
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const [{ batches } = { batches: 0n }] = await database.sql<{ batches: bigint }[]>`
      select count(*) as batches from chain_transaction`;
    expect(batches).toBe(3n);
    await chain.client.mine({ blocks: 1 });
    await chain.client.setAutomine(true);
    await finish();
  });
});

test('with blocks of two seconds, and a node that loses answers to broadcasts and is away for a while, each is paid once', async () => {
  await withPayouts(6, async (world) => {
    const { chain, database } = world;
    await using rpc = await startFaultyRpc(chain.url);
    await chain.client.setAutomine(false);
    await chain.client.setIntervalMining({ interval: 2 });
    rpc.lose('eth_sendRawTransaction', 2);
    const { paymaster, finish } = testPaymaster({ ...world, sql: database.sql, rpcUrl: rpc.url, retryMs: 1_000 });
    await paymaster.round();
    expect(rpc.lost).toBeGreaterThan(0);
    rpc.away = true;
    await expect(paymaster.round()).rejects.toThrow();
    rpc.away = false;
    await finish();
  });
});

test('T27: one transfer that ten connections book at once goes to the world once', async () => {
  await withPayouts(1, async ({ database: { sql }, payouts: [payout], ...world }) => {
    await testPaymaster({ ...world, sql }).paymaster.round();
    const [{ hash } = { hash: '' }] = await sql<{ hash: string }[]>`select hash from chain_transaction`;
    const bookings = Array.from({ length: 10 }, () => settlePayout(sql, payout?.id ?? '', hash));
    expect((await Promise.all(bookings)).filter((isFirst) => isFirst)).toHaveLength(1);
  });
});
