import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Progress } from '../../workers/progress.ts';
import type { Lost, Plan, Target } from '../measure.ts';
import type { Row, Workload } from '../workloads.ts';
import { readGiven } from './given.ts';
import { compare } from './part.ts';
import { type Peer, setup } from './peer.ts';

const PLAN: Plan = { workloads: [], rounds: 1, runMs: 1, firstMs: 1 };
const silent: Progress = { step: () => {}, detail: () => {}, done: () => {} };
/** A gateway that answers whoever has its key. */
const PROGRAM = `
  const [port, key] = process.argv.slice(2);
  require('node:http').createServer((request, response) => {
    response.writeHead(request.headers.authorization === 'Bearer ' + key ? 200 : 401).end('{}');
  }).listen(Number(port), '127.0.0.1');`;

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'faregate-peers-test-'));
  await writeFile(join(folder, 'good.cjs'), PROGRAM);
  await writeFile(join(folder, 'ends.cjs'), 'console.error("no licence"); process.exit(3);');
});
afterEach(() => rm(folder, { recursive: true }));

function peer(name: string, program: string): Peer {
  const row = `vs ${name}` as const;
  const run = { env: {}, keys: ['secret'] };
  const setups = [
    setup(row, ({ program: file, port }) => ({ ...run, command: [process.execPath, file, String(port), 'secret'] })),
  ];
  return { name, version: '1', folder: '.', program, install: { steps: [] }, setups };
}

/** Stands for the rounds: tells what it was asked to run, and whether each peer answers while it does. */
class Rounds {
  readonly lost: Lost[] = [];
  readonly answered = new Map<Row, number>();
  workloads: readonly Workload[] = [];

  async run({ workloads }: Plan, targets: ReadonlyMap<Row, Target> = new Map()): Promise<[]> {
    this.workloads = workloads;
    for (const [row, { child, keys }] of targets) {
      const response = await fetch(child.url, { method: 'POST', headers: { authorization: `Bearer ${keys[0]}` } });
      this.answered.set(row, response.status);
    }
    return [];
  }
}

function compared(rounds: Rounds, peers: readonly Peer[], given: readonly string[] = []) {
  const asked = { peers, folder, given: given.map(readGiven), workerUrl: 'http://127.0.0.1:1' };
  return compare(rounds, PLAN, new Map(), asked, silent);
}

test('what is not installed, ends at its start or does not answer is left out by name, and the others run', async () => {
  const rounds = new Rounds();
  const peers = [peer('Good', 'good.cjs'), peer('Absent', 'absent.cjs'), peer('Ends', 'ends.cjs')];
  const { versions, leftOut } = await compared(rounds, peers, ['Gone=http://127.0.0.1:1']);
  expect([...rounds.answered]).toEqual([['vs Good', 200]]);
  expect(rounds.workloads.every(({ rows }) => rows.includes('vs Good') && !rows.includes('vs Ends'))).toBe(true);
  expect(versions).toEqual(['Good 1', 'Ends 1']);
  expect(leftOut).toEqual([
    expect.stringMatching(/^vs Gone: it does not answer/),
    'Absent 1: not installed',
    'vs Ends: it ended at its start. no licence',
  ]);
});

test('without any other gateway nothing is run', async () => {
  const rounds = new Rounds();
  expect(await compared(rounds, [peer('Absent', 'absent.cjs')])).toEqual({
    results: [],
    versions: [],
    leftOut: ['Absent 1: not installed'],
  });
  expect(rounds.workloads).toEqual([]);
});

test('one that lost a call in a workload is named with it', async () => {
  const rounds = new Rounds();
  rounds.lost.push({ row: 'vs Good', workload: 'streams', why: '1 calls failed' });
  const { leftOut } = await compared(rounds, [peer('Good', 'good.cjs')]);
  expect(leftOut).toEqual(['vs Good in streams: 1 calls failed']);
});
