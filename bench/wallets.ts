/** `npm run bench:wallets`: very many wallets pay for streams by stock clients; afterwards every unit must be where it belongs. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { violations } from '../db/checks.ts';
import { readConfig } from '../gateway/config.ts';
import { client } from '../gateway/demo-world.ts';
import { callFromWallets, type WalletSums } from '../gateway/e2e/wallet-calls.ts';
import { type RunningGateway, startGateway } from '../gateway/node.ts';
import { startLocalChain } from '../payments/chain/local.ts';
import { startSimulator } from '../workers/simulator/server.ts';

const HELP = `npm run bench:wallets -- [--wallets N] [--calls N]

N wallets (100) make N calls each (20), streaming, on a local chain that mines at once; half of the wallets by @x402/fetch, half by mppx; every
second one goes on with the key of its first payment, the others pay for each call and take home what is left. Exits 1 unless deposits =
balances + charges + withdrawals to the atomic unit and the books balance. Prints how long after its settlement the first byte of a stream came.
`;

const MODEL = 'tiny';
const PRICE = { input: 1_000_000, cached_input: 500_000, output: 2_000_000, per_ms: 10 };
const UNITS = 50_000_000n;
const GAS_KEYS = 8;
const FIRST_BYTE_MS = 50;

const { values } = parseArgs({
  options: { wallets: { type: 'string' }, calls: { type: 'string' }, help: { type: 'boolean', default: false } },
});
if (values.help) process.stdout.write(HELP);
else process.exitCode = (await run(Number(values.wallets ?? 100), Number(values.calls ?? 20))) ? 0 : 1;
process.exit();

async function run(wallets: number, callsEach: number): Promise<boolean> {
  const dataDir = await mkdtemp(join(tmpdir(), 'faregate-wallets-'));
  const chain = await startLocalChain();
  const treasury = await chain.wallet();
  const gas = await Promise.all(Array.from({ length: GAS_KEYS }, () => chain.wallet()));
  const running = await startGateway(
    readConfig({
      FAREGATE_PORT: '0',
      FAREGATE_DATA_DIR: dataDir,
      FAREGATE_LOG: 'warn',
      FAREGATE_ALLOW_PRIVATE_WORKERS: '1',
      FAREGATE_NETWORK: 'base-sepolia',
      FAREGATE_RPC_URL: chain.url,
      FAREGATE_TREASURY_KEY: treasury.privateKey,
      FAREGATE_GAS_KEYS: gas.map(({ privateKey }) => privateKey).join(','),
    }),
  );
  const simulator = await startSimulator({ model: MODEL });
  await serve(running, simulator.url);
  const site = { url: running.url, chain, units: UNITS, model: MODEL };
  const alone = await callFromWallets({ ...site, wallets: 1, callsEach });
  const startMs = performance.now();
  const sums = await callFromWallets({ ...site, wallets, callsEach });
  const seconds = (performance.now() - startMs) / 1_000;
  const balanced = (await violations(running.gateway.platform.database.sql)).length === 0;
  const settledMs = await settlements(running);
  const { paid, balances, charged, withdrawn, calls, payments } = sums;
  const there = (await chain.usdcOf(treasury.address)) * 1_000n;
  const kept =
    [sums, alone].every((one) => one.paid === one.balances + one.charged + one.withdrawn) &&
    paid + alone.paid === there + withdrawn + alone.withdrawn;
  process.stdout.write(
    `${wallets} wallets, ${calls} calls, ${payments} payments in ${seconds.toFixed(1)} s\n` +
      `deposits ${paid} = balances ${balances} + charges ${charged} + withdrawals ${withdrawn} nano-USD: ${kept}; books balance: ${balanced}\n` +
      `first byte after settlement: one wallet alone ${delays(alone, settledMs)} (budget ${FIRST_BYTE_MS} ms), all at once ${delays(sums, settledMs)}\n`,
  );
  await running.stop(AbortSignal.abort());
  await Promise.all([simulator.close(), chain.stop()]);
  await rm(dataDir, { recursive: true, force: true });
  return kept && balanced && calls === wallets * callsEach;
}

function delays({ firstByteMs }: WalletSums, settledMs: ReadonlyMap<string, number>): string {
  const sorted = [...firstByteMs]
    .map(([hash, atMs]) => atMs - (settledMs.get(hash) ?? Number.NaN))
    .toSorted((a, b) => a - b);
  const at = (share: number) => (sorted[Math.floor(sorted.length * share)] ?? Number.NaN).toFixed(1);
  return `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms`;
}

/** When each payment was settled, by its transaction: as Postgres says, whose clock is this machine's. A little early: its commit was later. */
async function settlements({ gateway }: RunningGateway): Promise<ReadonlyMap<string, number>> {
  const rows = await gateway.platform.database.sql<{ transaction: string; atMs: number }[]>`
    select transaction, (extract(epoch from changed_at) * 1000)::float8 as "atMs" from payment where state = 'settled'`;
  return new Map(rows.map(({ transaction, atMs }) => [transaction, atMs]));
}

async function serve({ url, adminKey }: RunningGateway, engine: string): Promise<void> {
  const admin = client(`${url}/admin/v1`, adminKey);
  await admin('PUT', `/prices/${MODEL}`, PRICE);
  const { key } = await admin('POST', '/operators', { name: 'bench' });
  const models = [{ id: MODEL, context_length: 8_192 }];
  await client(`${url}/operator/v1`, String(key))('POST', '/workers', {
    url: engine,
    models,
    country: 'NO',
    region: 'bench',
    slots: 64,
  });
  for (;;) {
    const { data } = await admin('GET', '/workers');
    const states = (data as { state: string }[]).map(({ state }) => state);
    if (states.every((state) => state === 'active' || state === 'probation')) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
