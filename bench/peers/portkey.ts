/** Portkey: TypeScript on Node, no keys or budgets in what is open. */
import { type Peer, setup } from './peer.ts';

const VERSION = '1.15.2';
/** From 1.14 on its server's adapter hands out headers that cannot be changed, and Portkey answers every stream with a 500. */
const manifest = {
  private: true,
  dependencies: { '@portkey-ai/gateway': VERSION },
  overrides: { '@hono/node-server': '1.13.8' },
};

export const portkey: Peer = {
  name: 'Portkey',
  version: VERSION,
  folder: 'portkey',
  program: 'node_modules/@portkey-ai/gateway/build/start-server.js',
  install: {
    files: { 'package.json': JSON.stringify(manifest) },
    steps: [['npm', 'install', '--ignore-scripts', '--legacy-peer-deps']],
  },
  setups: [
    setup('vs Portkey, bare', ({ program, port, workerUrl }) => ({
      command: [process.execPath, program, `--port=${port}`, '--headless'],
      env: { NODE_ENV: 'production' },
      headers: { 'x-portkey-provider': 'openai', 'x-portkey-custom-host': `${workerUrl}/v1` },
    })),
  ],
};
