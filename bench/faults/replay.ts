/** How long a start takes over the longest journal of R1: 100,000 records that no database has heard of. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { createAgent, deposit } from '../../payments/ledger.ts';
import { GatewayProcess } from './gateway-process.ts';
import { CALL_NANOUSD } from './plain-call.ts';
import type { Site } from './site.ts';
import type { Row } from './table.ts';

/** Each leaves two records: `open` and `close`. */
const CALLS = 50_000;
const READY_MS_MAX = 2_000;
const child = fileURLToPath(new URL('./unsettled-child.ts', import.meta.url));

export async function replayRow(site: Site): Promise<Row> {
  const { sql } = site.cluster.database;
  const { id: accountId } = await createAgent(sql, { name: 'unsettled' });
  await deposit(sql, { accountId, amount: BigInt(CALLS) * CALL_NANOUSD, reference: 'unsettled' });
  const { home, cluster, adminKey } = site;
  const gateway = await GatewayProcess.open({
    name: 'gateway-long',
    home,
    databaseUrl: cluster.url,
    ack: 'page',
    adminKey,
  });
  await leaveJournal(site, join(gateway.dataDir, 'journal'), accountId);
  // The second start has nothing to replay.
  for (let start = 0; start < 2; start++) {
    await gateway.start();
    await gateway.stop();
  }
  gateway.proxy.close();
  const [overJournalMs = 0, overNothingMs = 0] = gateway.readyMs;
  const [row] = await sql<{ calls: number; charged: bigint }[]>`
    select count(*)::int as calls, coalesce(sum(charged_nanousd), 0)::bigint as charged from call where account_id = ${accountId}`;
  const { calls = 0, charged = 0n } = row ?? {};
  const due = BigInt(CALLS) * CALL_NANOUSD;
  return {
    name: 'R1',
    attack: 'start over a journal of 100,000 records, none of them settled',
    size: `${calls} calls, ready in ${seconds(overJournalMs)}, over an empty journal in ${seconds(overNothingMs)}`,
    result: `lost ${due - charged} nano-USD`,
    good: charged === due && overJournalMs <= READY_MS_MAX,
  };
}

/** A ledger of the same directory holds, loses the database, captures, and is killed. */
async function leaveJournal({ cluster }: Site, directory: string, accountId: string): Promise<void> {
  mkdirSync(directory, { recursive: true });
  const ledger = spawn(process.execPath, [child, cluster.url, directory, accountId, String(CALLS)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const words = createInterface({ input: ledger.stdout });
  await once(words, 'line');
  await cluster.whileFrozen(async () => {
    ledger.stdin.write('\n');
    await once(words, 'line');
    ledger.kill('SIGKILL');
    await once(ledger, 'exit');
  });
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}
