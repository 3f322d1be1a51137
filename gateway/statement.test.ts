import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { startTestGateway, type TestGateway } from './testing.ts';

let gateway: TestGateway;

beforeAll(async () => {
  gateway = await startTestGateway();
  for (let calls = 0; calls < 3; calls++) {
    const messages = [{ role: 'user', content: `Question ${calls}` }];
    await (await gateway.post('/v1/chat/completions', { model: 'tiny', messages, max_tokens: 4 })).text();
  }
  // Answered when the calls are settled.
  await gateway.agent('GET', '/account');
  await gateway.admin('POST', `/accounts/${gateway.accountId}/credits`, {
    nanousd: '5',
    reference: 'a "late" one, of two parts',
  });
  // A posting that is under way elsewhere keeps what came after it out of a statement for a moment.
  await vi.waitUntil(async () => (await linesOf(await statement(''))).length === 7);
});

afterAll(async () => {
  await gateway.stop();
});

function statement(query: string, { accept, key }: { accept?: string; key?: string } = {}): Promise<Response> {
  return fetch(`${gateway.url}/v1/statements${query}`, {
    headers: { authorization: `Bearer ${key ?? gateway.apiKey}`, ...(accept === undefined ? {} : { accept }) },
  });
}

interface Line {
  readonly kind: string;
  readonly amount_nanousd: string;
  readonly balance_nanousd: string;
}

async function linesOf(response: Response): Promise<Line[]> {
  const text = await response.text();
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);
}

async function codeOf(response: Response): Promise<unknown> {
  const { error } = (await response.json()) as { error: { code: unknown; param: unknown } };
  return [response.status, error.code, error.param];
}

test('lists every movement, and ends at the balance of the account', async () => {
  const response = await statement('');
  expect(response.headers.get('content-type')).toBe('application/x-ndjson');
  const lines = await linesOf(response);
  expect(lines.map(({ kind }) => kind)).toEqual([
    'opening',
    'deposit',
    'charge',
    'charge',
    'charge',
    'deposit',
    'closing',
  ]);
  const account = await gateway.agent('GET', '/account');
  expect(lines.at(-1)?.balance_nanousd).toBe(account.balance_nanousd);
  expect(String(lines.reduce((sum, line) => sum + BigInt(line.amount_nanousd), 0n))).toBe(account.balance_nanousd);
});

test('is CSV for who asks so, in the query or by the accept header, with every text in one field', async () => {
  const [named, accepted] = await Promise.all([statement('?format=csv'), statement('', { accept: 'text/csv' })]);
  for (const response of [named, accepted]) {
    expect(response.headers.get('content-type')).toBe('text/csv; charset=utf-8');
    const lines = (await response.text()).trimEnd().split('\r\n');
    expect(lines[0]).toMatch(/^at,kind,amount_nanousd,balance_nanousd,/);
    expect(lines.at(-2)).toContain(',"a ""late"" one, of two parts",');
    expect(lines).toHaveLength(8);
  }
});

test('of an earlier period is empty, of a wrong one refused', async () => {
  const lines = await linesOf(await statement('?from=2020-01-01&to=2020-02-01T00:00:00%2B01:00'));
  expect(lines.map(({ kind, balance_nanousd }) => [kind, balance_nanousd])).toEqual([
    ['opening', '0'],
    ['closing', '0'],
  ]);
  expect(await codeOf(await statement('?from=2030-01-01'))).toEqual([400, 'invalid_request', 'from']);
  expect(await codeOf(await statement('?to=yesterday'))).toEqual([400, 'invalid_request', 'to']);
});

test('shows nothing of other accounts', async () => {
  const { id } = await gateway.admin('POST', '/accounts', { name: 'stranger' });
  const { key } = await gateway.admin('POST', `/accounts/${id}/keys`, {});
  const lines = await linesOf(await statement('', { key: String(key) }));
  expect(lines.map(({ kind, balance_nanousd }) => [kind, balance_nanousd])).toEqual([
    ['opening', '0'],
    ['closing', '0'],
  ]);
});

test('that nobody reads takes two connections at most, and gives them back when its caller leaves', async () => {
  // Long enough that it does not fit into the buffers between here and there.
  await gateway.database.sql`
    insert into txn (id, kind, ref)
    select gen_random_uuid(), 'deposit', ${gateway.accountId} || ':' || n || repeat('x', 2000) from generate_series(1, 10000) n`;
  await gateway.database.sql`
    insert into entry (txn_id, account_id, amount)
    select t.id, side.id, side.amount from txn t, (values (${gateway.accountId}, 1), ('world', -1)) side (id, amount)
    where t.ref like '%xxx'`;
  await gateway.database.sql`
    update account set balance = balance + case id when 'world' then -10000 else 10000 end
    where id in ('world', ${gateway.accountId})`;
  const unread = await Promise.all([statement(''), statement('')]);
  expect(await codeOf(await statement(''))).toEqual([503, 'overloaded', null]);
  await Promise.all(unread.map((response) => response.body?.cancel()));
  const short = async () => {
    const response = await statement('?from=2020-01-01&to=2020-01-02');
    await response.text();
    return response.status;
  };
  await expect.poll(short, { timeout: 10_000 }).toBe(200);
  await expect.poll(async () => (await linesOf(await statement(''))).length, { timeout: 10_000 }).toBe(10_007);
});

test('is not given for a time whose calls are archived', async () => {
  const { sql } = gateway.database;
  await sql`
    insert into archived_month (month, ids_before, calls, settled_until, sha256)
    values ('2020-01', '016f0000-0000-0000-0000-000000000000', 0, '2020-02-01T00:00:00.123Z', '')`;
  expect(await codeOf(await statement('?from=2020-01-15'))).toEqual([400, 'invalid_request', 'from']);
  expect((await statement('?from=2020-02-02')).status).toBe(200);
});
