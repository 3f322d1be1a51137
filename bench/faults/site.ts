/** Everything under attack: a Postgres, gateways each behind a proxy, a worker, agents with money. */
import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { client } from '../../gateway/demo-world.ts';
import { mintKey } from '../../gateway/keys.ts';
import { deposit } from '../../payments/ledger.ts';
import { PRICE } from './audit.ts';
import { GatewayProcess } from './gateway-process.ts';
import { type Cluster, startCluster } from './postgres.ts';
import { type CountingWorker, MODEL, startCountingWorker } from './worker.ts';

interface Agent {
  readonly accountId: string;
  readonly key: string;
  /** Never short of money. */
  readonly funded: boolean;
}

export interface Site {
  readonly home: string;
  readonly cluster: Cluster;
  readonly worker: CountingWorker;
  readonly gateways: readonly GatewayProcess[];
  readonly agents: readonly Agent[];
  readonly adminKey: string;
  /** What all agents were given, ever. */
  readonly deposited: bigint;
  /** The environment of failpoints.ts for gateways that start; null: none is to fail by itself. */
  arm: (() => Record<string, string>) | null;
  /** Gives every agent that runs dry enough for some more calls. */
  fund(reference: string): Promise<void>;
  close(): Promise<void>;
}

const ACKS = ['page', 'disk', 'database'] as const;
const RICH_AGENTS = 6;
const POOR_AGENTS = 2;
const RICH_NANOUSD = 1_000_000_000_000n;
const POOR_NANOUSD = 100_000n;

export async function openSite(): Promise<Site> {
  const home = await mkdtemp(join(tmpdir(), 'faregate-faults-'));
  await chmod(home, 0o755);
  const cluster = await startCluster(home);
  const worker = await startCountingWorker();
  const adminKey = mintKey('adm', randomBytes);
  const gateways: GatewayProcess[] = [];
  for (const [index, ack] of ACKS.entries()) {
    const arm = () => site.arm?.() ?? {};
    const options = { name: `gateway-${index}`, home, databaseUrl: cluster.url, ack, adminKey, arm };
    gateways.push(await GatewayProcess.open(options));
  }
  const agents: Agent[] = [];
  let deposited = 0n;
  const give = async (accountId: string, amount: bigint, reference: string) => {
    await deposit(cluster.database.sql, { accountId, amount, reference });
    deposited += amount;
  };
  const site: Site = {
    home,
    cluster,
    worker,
    gateways,
    agents,
    adminKey,
    get deposited() {
      return deposited;
    },
    arm: null,
    fund: async (reference) => {
      for (const { accountId, funded } of agents) if (!funded) await give(accountId, POOR_NANOUSD, reference);
    },
    close: async () => {
      for (const gateway of gateways) gateway.proxy.close();
      worker.close();
      await cluster.close();
      await rm(home, { recursive: true, force: true });
    },
  };
  for (const gateway of gateways) await gateway.start();
  const admin = client(`${gateways[0]?.url}/admin/v1`, adminKey);
  await furnish(admin, gateways[0]?.url ?? '', worker);
  for (let index = 0; index < RICH_AGENTS + POOR_AGENTS; index++) {
    const funded = index < RICH_AGENTS;
    const { id } = await admin('POST', '/accounts', { name: `agent ${index}` });
    const { key } = await admin('POST', `/accounts/${id}/keys`, {});
    agents.push({ accountId: String(id), key: String(key), funded });
    if (funded) await give(String(id), RICH_NANOUSD, 'first');
  }
  for (const gateway of gateways) await gateway.stop();
  return site;
}

async function furnish(admin: ReturnType<typeof client>, url: string, worker: CountingWorker): Promise<void> {
  const perMillion = (price: bigint) => Number(price * 1_000_000n);
  const input = perMillion(PRICE.prompt);
  await admin('PUT', `/prices/${MODEL}`, {
    input,
    cached_input: input,
    output: perMillion(PRICE.completion),
    per_ms: 0,
  });
  const { key } = await admin('POST', '/operators', { name: 'operator' });
  await client(`${url}/operator/v1`, String(key))('POST', '/workers', {
    url: worker.url,
    models: [{ id: MODEL, context_length: 8_192 }],
    country: 'NO',
    region: 'faults',
    slots: 512,
  });
  for (;;) {
    const { data } = await admin('GET', '/workers');
    if ((data as { state: string }[]).every(({ state }) => state === 'active' || state === 'probation')) return;
    await sleep(50);
  }
}
