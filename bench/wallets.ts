/** `npm run bench:wallets`: very many wallets pay for streams by stock clients; afterwards every unit must be where it belongs. */
import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { violations } from '../db/checks.ts';
import { connect, type Sql } from '../db/connect.ts';
import { startEmbedded } from '../db/embedded.ts';
import { openMarket } from '../gateway/e2e/served.ts';
import { callFromWallets, type WalletSums } from '../gateway/e2e/wallet-calls.ts';
import { mintKey } from '../gateway/keys.ts';
import { type LocalChain, startLocalChain } from '../payments/chain/local.ts';
import { machine, storeResult } from './machine.ts';
import { type Child, leaveMeasuredCore, start } from './processes.ts';

const HELP = `npm run bench:wallets -- [--wallets N] [--calls N] [--per-second N] [--store]

N wallets (100) make N calls each (20), streaming, on a local chain that mines at once; half of the wallets by @x402/fetch, half by mppx; every
second one goes on with the key of its first payment, the others pay for each call and take home what is left. Exits 1 unless deposits =
balances + charges + withdrawals to the atomic unit and the books balance. Prints how long after its settlement the first content of a stream
came: to one wallet alone, to all with so many calls a second (25), and, a quarter of the calls, as fast as the machine can, where everybody
waits for everybody. --store keeps that in bench/results/wallets.json.
`;

const MODEL = 'tiny';
const UNITS = 50_000_000n;
const GAS_KEYS = 8;
/** Room for all at once: what is measured is not a worker's queue. */
const SLOTS = 256;
const FIRST_BYTE_MS = 50;

interface Site {
  readonly sql: Sql;
  readonly chain: LocalChain;
  /** Where payments go. */
  readonly treasury: `0x${string}`;
  readonly gateway: Child;
  stop(): Promise<void>;
}

const { values } = parseArgs({
  options: {
    wallets: { type: 'string', default: '100' },
    calls: { type: 'string', default: '20' },
    'per-second': { type: 'string', default: '25' },
    store: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) process.stdout.write(HELP);
else process.exitCode = (await run(Number(values.wallets), Number(values.calls))) ? 0 : 1;
process.exit();

async function run(wallets: number, callsEach: number): Promise<boolean> {
  // The gateway has a core; wallets, chain and database have the others.
  leaveMeasuredCore();
  const site = await startSite();
  try {
    return await measure(site, wallets, callsEach);
  } finally {
    await site.stop();
  }
}

async function measure({ sql, chain, treasury, gateway }: Site, wallets: number, callsEach: number): Promise<boolean> {
  const from = { url: gateway.url, chain, units: UNITS, model: MODEL };
  // What is loaded and compiled once is no payment's.
  const first = await callFromWallets({ ...from, wallets: 1, callsEach: 5 });
  const alone = await callFromWallets({ ...from, wallets: 1, callsEach });
  const paced = await callFromWallets({ ...from, wallets, callsEach, perSecond: Number(values['per-second']) });
  const startMs = performance.now();
  const rush = await callFromWallets({ ...from, wallets, callsEach: Math.max(3, Math.ceil(callsEach / 4)) });
  const perSecond = rush.calls / ((performance.now() - startMs) / 1_000);
  const balanced = (await violations(sql)).length === 0;
  const runs = [first, alone, paced, rush];
  const inTreasury = (await chain.usdcOf(treasury)) * 1_000n;
  const kept =
    runs.every((one) => one.paid === one.balances + one.charged + one.withdrawn) &&
    inTreasury === runs.reduce((sum, one) => sum + one.paid - one.withdrawn, 0n);
  const firstByteMs = {
    alone: await delays(sql, alone),
    paced: await delays(sql, paced),
    rush: await delays(sql, rush),
  };
  const ms = ({ p50, p99 }: Quantiles) => `p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms`;
  const say = ({ content, read }: Delays) => `in the gateway ${ms(content)}; read by the wallet ${ms(read)}`;
  process.stdout.write(
    `${machine()}\n${wallets} wallets, ${paced.calls} calls, ${paced.payments} payments\n` +
      `deposits ${paced.paid} = balances ${paced.balances} + charges ${paced.charged} + withdrawals ${paced.withdrawn} nano-USD: ${kept}; books balance: ${balanced}\n` +
      `first content after settlement (budget ${FIRST_BYTE_MS} ms)\n` +
      `  one wallet alone:       ${say(firstByteMs.alone)}\n` +
      `  ${values['per-second'].padStart(3)} calls a second:     ${say(firstByteMs.paced)}\n` +
      `  all at once (${perSecond.toFixed(0).padStart(3)} a s.): ${say(firstByteMs.rush)}\n`,
  );
  const { calls, payments, paid, balances, charged, withdrawn } = paced;
  const sums = { paid, balances, charged, withdrawn };
  const nanousd = Object.fromEntries(Object.entries(sums).map(([name, amount]) => [name, String(amount)]));
  if (values.store)
    await storeResult('wallets', { wallets, calls, payments, perSecond, nanousd, kept, balanced, firstByteMs });
  return kept && balanced && calls === wallets * callsEach;
}

/** From the settlement of a payment, in milliseconds: to the first content in the gateway, and to the first byte that the wallet reads. */
interface Delays {
  readonly content: Quantiles;
  readonly read: Quantiles;
}

interface Quantiles {
  readonly p50: number;
  readonly p99: number;
}

async function delays(sql: Sql, { paidCalls }: WalletSums): Promise<Delays> {
  // Times of Postgres, whose clock is this machine's; of a settlement that of its statement, a little before its commit.
  const rows = await sql<{ transaction: string; settledMs: number }[]>`
    select transaction, (extract(epoch from changed_at) * 1000)::float8 as "settledMs" from payment where state = 'settled'`;
  const settled = new Map(rows.map(({ transaction, settledMs }) => [transaction, settledMs]));
  const calls = await sql<{ id: string; ttftMs: number }[]>`select id, ttft_ms as "ttftMs" from call`;
  const ttft = new Map(calls.map(({ id, ttftMs }) => [id, ttftMs]));
  const since = [...paidCalls].map(([transaction, { id, firstByteMs }]) => {
    const settledMs = settled.get(transaction) ?? Number.NaN;
    const contentMs = arrivedMs(id) + (ttft.get(id) ?? Number.NaN);
    return { content: contentMs - settledMs, read: firstByteMs - settledMs };
  });
  return { content: quantiles(since.map(({ content }) => content)), read: quantiles(since.map(({ read }) => read)) };
}

/** When a call arrived: the time in its UUIDv7. */
function arrivedMs(id: string): number {
  return Number.parseInt(id.replaceAll('-', '').slice(0, 12), 16);
}

function quantiles(values: readonly number[]): Quantiles {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.floor(sorted.length * share)] ?? Number.NaN;
  return { p50: at(0.5), p99: at(0.99) };
}

/** A gateway, its database, its worker and its chain, in processes of their own. Nothing is left running when a part does not start. */
async function startSite(): Promise<Site> {
  const undo: (() => Promise<unknown>)[] = [];
  const stop = async () => {
    for (const step of undo.splice(0)) await step();
  };
  try {
    return { ...(await begin(undo)), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function begin(undo: (() => Promise<unknown>)[]): Promise<Omit<Site, 'stop'>> {
  const directory = await mkdtemp(join(tmpdir(), 'faregate-wallets-'));
  await chmod(directory, 0o755);
  undo.unshift(() => rm(directory, { recursive: true, force: true }));
  const postgres = await startEmbedded(join(directory, 'postgres'));
  undo.unshift(() => postgres.stop());
  const chain = await startLocalChain();
  undo.unshift(() => chain.stop());
  const treasury = await chain.wallet();
  const gas = await Promise.all(Array.from({ length: GAS_KEYS }, () => chain.wallet()));
  const adminKey = mintKey('adm', randomBytes);
  const env = {
    DATABASE_URL: postgres.url,
    FAREGATE_DATA_DIR: join(directory, 'data'),
    FAREGATE_PORT: '0',
    FAREGATE_LOG: 'warn',
    FAREGATE_ALLOW_PRIVATE_WORKERS: '1',
    FAREGATE_ADMIN_KEY: adminKey,
    FAREGATE_NETWORK: 'base-sepolia',
    FAREGATE_RPC_URL: chain.url,
    FAREGATE_TREASURY_KEY: treasury.privateKey,
    // A chain that mines at once has no blocks above the last transaction.
    FAREGATE_CONFIRMATIONS: '0',
    FAREGATE_GAS_KEYS: gas.map(({ privateKey }) => privateKey).join(','),
  };
  const gateway = await start({ file: 'gateway/cli.ts', args: ['serve'], env, cores: 'measured' });
  undo.unshift(() => gateway.stop());
  const worker = await start({
    file: 'gateway/cli.ts',
    args: ['simulate-vllm', '--port', '0', '--slots', `${SLOTS}`],
    cores: 'others',
  });
  undo.unshift(() => worker.stop());
  await openMarket({ url: gateway.url, adminKey }, worker.url, SLOTS);
  const database = connect(postgres.url, { max: 2 });
  undo.unshift(() => database.close());
  return { sql: database.sql, chain, treasury: treasury.address, gateway };
}
