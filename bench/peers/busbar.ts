/** Busbar: Rust, one thread as one core is all there is; signed keys, limits and budgets in memory. */
import { randomBytes } from 'node:crypto';
import { models } from '../answers.ts';
import { type Peer, type Place, type Run, setup } from './peer.ts';

const VERSION = '1.5.5';
/** Met by no run. */
const FAR = 1_000_000_000_000;
const ADMIN_TOKEN = 'bench';
const names = Object.values(models);

export const busbar: Peer = {
  name: 'Busbar',
  version: VERSION,
  folder: 'busbar',
  program: 'bin/busbar',
  install: {
    source: { repository: 'https://github.com/GetBusbar/busbar', tag: `v${VERSION}` },
    // Its tag asks for the compiler that its CI has, newer than its code needs.
    steps: [
      ['cargo', 'install', '--locked', '--ignore-rust-version', '--path', 'source/crates/busbar', '--root', '.'],
      ['rm', '-rf', 'source/target'],
    ],
  },
  setups: [
    setup('vs Busbar, bare', (place) => run(place, { auth: { chain: [] } })),
    setup('vs Busbar, keys and limits', (place) => ({
      ...run(place, {
        'identity-providers': { 'admin-tokens': { module: 'admin-tokens', token: { env: 'ADMIN_TOKEN' } } },
        auth: { chain: ['keys'], signing_key: { env: 'SIGNING_KEY' }, admin_auth: ['admin-tokens'] },
        groups: {
          agents: {
            limits: [
              { requests: FAR, per: 'minute' },
              { budget: FAR, per: 'month' },
            ],
          },
        },
        rate_card: forEach({ input_utok: 0.2, output_utok: 0.8, cache_read_utok: 0.05, cache_write_utok: 0 }),
        store: { module: 'memory' },
      }),
      mintKey: () => mintKey(place.adminPort),
    })),
  ],
};

function run({ program, port, adminPort, workerUrl }: Place, more: object): Run {
  const config = {
    listen: `127.0.0.1:${port}`,
    admin_listen: `127.0.0.1:${adminPort}`,
    providers: { worker: { api_key: { env: 'ADMIN_TOKEN' } } },
    models: forEach({ provider: 'worker' }),
    advanced: { worker_threads: 1, upstream_http1_only: true },
    ...more,
  };
  return {
    command: [program],
    env: {
      BUSBAR_CONFIG: 'config.yaml',
      RUST_LOG: 'error',
      ADMIN_TOKEN,
      SIGNING_KEY: randomBytes(32).toString('hex'),
    },
    // JSON is YAML.
    files: {
      'config.yaml': JSON.stringify(config),
      'providers.yaml': JSON.stringify({ worker: { protocol: 'openai', base_url: workerUrl, error_map: {} } }),
    },
  };
}

function forEach(settings: object): object {
  return Object.fromEntries(names.map((name) => [name, settings]));
}

async function mintKey(adminPort: number): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${adminPort}/api/v1/admin/keys`, {
    method: 'POST',
    headers: { authorization: `Bearer ${ADMIN_TOKEN}`, 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'bench', group: 'agents' }),
  });
  const { token } = (await response.json()) as { token?: string };
  if (token === undefined) throw new Error(`it minted no key: HTTP ${response.status}`);
  return token;
}
