import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Bench, type Target } from './measure.ts';
import { startHelper } from './processes.ts';
import { quickWorkloads, type Row } from './workloads.ts';
import type { World } from './world.ts';

const silent = { step: () => {}, detail: () => {}, done: () => {} };
let generator: ChildProcess;
let server: Server;
let url = '';

beforeAll(async () => {
  generator = startHelper('bench/load.ts');
  server = createServer((request, response) => {
    const good = request.headers['x-good'] === 'yes' && request.headers.authorization === 'Bearer secret';
    request.resume().on('end', () => response.writeHead(good ? 200 : 500).end('{}'));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address !== null && typeof address === 'object') url = `http://127.0.0.1:${address.port}`;
});
afterAll(() => {
  generator.kill();
  server.closeAllConnections();
  server.close();
});

function bench(rows: Record<string, Target>): Bench {
  // No row has money, so that nothing of the world is asked.
  return new Bench({} as World, generator, new Map(Object.entries(rows) as [Row, Target][]), silent);
}

function target(headers: Record<string, string>): Target {
  const child = { url, used: async () => ({ cpuUs: null }) };
  return { child, keys: ['secret'], headers, money: false, receipts: false };
}

function plan(rows: readonly Row[]) {
  const workloads = quickWorkloads.slice(0, 1).map((workload) => ({ ...workload, rows, connections: 2 }));
  return { workloads, rounds: 1, runMs: 100, firstMs: 100 };
}

test('another gateway that loses a call is left out of the workload, and the others go on', async () => {
  const run = bench({ 'vs Good': target({ 'x-good': 'yes' }), 'vs Bad': target({}) });
  const results = await run.run(plan(['vs Bad', 'vs Good']));
  expect(results.map(({ row, cpuUs }) => ({ row, cpuUs }))).toEqual([{ row: 'vs Good', cpuUs: null }]);
  expect(run.lost).toEqual([{ row: 'vs Bad', workload: 'small', why: expect.stringContaining('HTTP 500') }]);
});

test('a call of ours that is lost fails the bench', async () => {
  await expect(bench({ floor: target({}) }).run(plan(['floor']))).rejects.toThrow('HTTP 500');
});
