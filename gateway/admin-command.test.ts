import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { adminCommand } from './admin-command.ts';
import { startTestGateway, type TestGateway } from './testing.ts';

let gateway: TestGateway;

beforeAll(async () => {
  gateway = await startTestGateway();
});

afterAll(async () => {
  await gateway.stop();
});

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

function environment(): Record<string, string> {
  return { FAREGATE_DATA_DIR: gateway.running.gateway.platform.config.dataDir };
}

/** Runs an admin command beside the running gateway's data directory. */
async function admin(args: string[], env: Readonly<Record<string, string>> = {}): Promise<Ran> {
  let out = '';
  let err = '';
  const terminal = {
    env: { ...environment(), ...env },
    out: (text: string) => {
      out += text;
    },
    err: (text: string) => {
      err += text;
    },
  };
  const code = await adminCommand(args, terminal);
  return { code, out, err };
}

/** The same as a person does it. */
function shell(args: readonly string[]): Promise<Ran> {
  const cli = fileURLToPath(new URL('cli.ts', import.meta.url));
  const options = { env: { PATH: process.env.PATH, ...environment() } };
  return new Promise((resolve) => {
    execFile(process.execPath, [cli, 'admin', ...args], options, (error, out, err) =>
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, out, err }),
    );
  });
}

async function json(args: string[]): Promise<Record<string, unknown>> {
  const { code, out, err } = await admin([...args, '--json']);
  expect({ code, err }).toEqual({ code: 0, err: '' });
  return JSON.parse(out) as Record<string, unknown>;
}

test('an agent gets an account, money and a key that works until it is revoked', async () => {
  const { id } = await json(['account', 'create', '--name', 'from the command line']);
  const credit = ['account', 'credit', '--account', String(id), '--nanousd', '9007199254740993', '--reference', 'r1'];
  expect(await json(credit)).toMatchObject({ balance_nanousd: '9007199254740993' });
  expect(await json(credit)).toMatchObject({ balance_nanousd: '9007199254740993' });
  const key = await json(['key', 'create', '--account', String(id), '--name', 'laptop']);
  const account = () => fetch(`${gateway.url}/v1/account`, { headers: { authorization: `Bearer ${String(key.key)}` } });
  expect((await account()).status).toBe(200);
  await json(['key', 'revoke', '--key', String(key.id)]);
  await expect.poll(async () => (await account()).status).toBe(401);
});

test('prices and operators are set from the command line', async () => {
  const price = ['--input', '2', '--cached-input', '1', '--output', '3', '--per-ms', '0'];
  const set = await json(['price', 'set', '--model', 'org/model', ...price]);
  expect(set).toEqual({ model: 'org/model', price_version: expect.any(Number) });
  const operator = await json(['operator', 'create', '--name', 'gpus', '--share-ppm', '800000']);
  expect(operator).toMatchObject({
    id: expect.stringMatching(/^op_/),
    key: expect.stringMatching(/^fg_op_/),
    share_ppm: 800_000,
  });
});

test('people read workers as a table, machines as one list', async () => {
  const { out } = await admin(['worker', 'list']);
  expect(out).toContain(gateway.workerIds[0]);
  expect(out).toContain('tiny');
  const { data } = await json(['worker', 'list']);
  expect(data).toEqual([expect.objectContaining({ id: gateway.workerIds[0], in_flight: 0 })]);
});

test('check exits 0 while the books balance and 1 with the violations when they do not', async () => {
  expect(await admin(['check'])).toEqual({ code: 0, out: 'The books balance.\n', err: '' });
  const { sql } = gateway.database;
  await sql`update account set balance = balance + 1 where id = 'revenue'`;
  const { code, out } = await admin(['check', '--json']);
  await sql`update account set balance = balance - 1 where id = 'revenue'`;
  expect(code).toBe(1);
  expect(JSON.parse(out)).toMatchObject({
    balanced: false,
    violations: [expect.objectContaining({ subject: 'revenue' })],
  });
});

test.each([
  [[]],
  [['accounts', 'create']],
  [['account', 'create']],
  [['account', 'create', '--name', 'a', '--colour', 'red']],
  [['account', 'create', 'extra', '--name', 'a']],
  [['account', 'credit', '--account', 'a', '--nanousd', '1.5', '--reference', 'r']],
])('bad usage exits 2, explains itself on stderr and prints nothing: %j', async (args) => {
  const { code, out, err } = await admin(args);
  expect({ code, out }).toEqual({ code: 2, out: '' });
  expect(err).toContain('--');
});

test('help is on stdout for the command and for each of its own', async () => {
  expect((await admin(['--help'])).out).toContain('account credit');
  expect(await admin(['price', 'set', '--help'])).toMatchObject({
    code: 0,
    out: expect.stringContaining('--cached-input'),
  });
});

test('what the gateway refuses fails with its words', async () => {
  const credit = ['account', 'credit', '--account', 'acct_none', '--nanousd', '1', '--reference', 'r'];
  await expect(admin(credit)).rejects.toThrow('There is no account of this id.');
});

test('without a gateway it says where it looked', async () => {
  await expect(admin(['check'], { FAREGATE_DATA_DIR: '/nonexistent' })).rejects.toThrow('/nonexistent');
  await expect(admin(['check'], { FAREGATE_URL: 'http://127.0.0.1:9' })).rejects.toThrow('does not answer');
});

test('in a shell: 0 and JSON alone on stdout, 1 with the reason on stderr, 2 for bad usage', async () => {
  const done = await shell(['check', '--json']);
  expect(done).toMatchObject({ code: 0, err: '' });
  expect(JSON.parse(done.out)).toEqual({ balanced: true, violations: [] });
  const failed = await shell(['key', 'revoke', '--key', 'key_none', '--json']);
  expect(failed).toEqual({ code: 1, out: '', err: 'faregate: There is no key of this id.\n' });
  expect(await shell(['key', 'revoke'])).toMatchObject({ code: 2, out: '' });
});
