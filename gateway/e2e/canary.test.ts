/** Threats T1 and T8: neither a key nor a word that was said may be found anywhere it has no business. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Log } from '../platform.ts';
import { startTestGateway, type TestGateway } from '../testing.ts';

const PROMPT = 'canary-prompt-7d1f0c';

test('keys, prompts and answers are in no log, metric, journal, table or error', async () => {
  const logged: string[] = [];
  const gateway = await startTestGateway({ log: recordingLog(logged) });
  const said = await talk(gateway);
  await gateway.running.gateway.ledger.settler.drain();
  const places = {
    logs: logged.join('\n'),
    metrics: await (await fetch(`${gateway.url}/metrics`)).text(),
    journal: await journalText(gateway),
    tables: await allRows(gateway),
  };
  expect(places.logs).toContain('call closed');
  expect(places.tables).toContain(gateway.accountId);
  for (const [place, text] of Object.entries(places)) {
    expect(text.length, place).toBeGreaterThan(0);
    for (const canary of [PROMPT, said, gateway.apiKey, gateway.operatorKey, gateway.running.adminKey])
      expect(text.includes(canary), `${canary.slice(0, 12)}… in ${place}`).toBe(false);
  }
  await gateway.stop();
});

test('a refused key is not repeated in the answer', async () => {
  await using gateway = await startTestGateway();
  const lastCharacter = gateway.apiKey.endsWith('0') ? '1' : '0';
  const key = gateway.apiKey.slice(0, -1) + lastCharacter;
  const response = await gateway.post('/v1/chat/completions', { model: 'tiny', messages: [] }, { key });
  expect(response.status).toBe(401);
  expect(await response.text()).not.toContain(key);
});

function recordingLog(lines: string[]): Log {
  const write = (fields: object, message: string) => {
    lines.push(
      `${message} ${JSON.stringify(fields, (_name, value) => (value instanceof Error ? String(value.stack) : value))}`,
    );
  };
  return { debug: write, info: write, warn: write, error: write };
}

/** Good, failing and refused calls that all carry the canary. Answers what the model said. */
async function talk(gateway: TestGateway): Promise<string> {
  const messages = [{ role: 'user', content: PROMPT }];
  const path = '/v1/chat/completions';
  const good = await gateway.post(path, { model: 'tiny', messages, max_tokens: 16, user: PROMPT });
  const { choices } = (await good.json()) as { choices: { message: { content: string } }[] };
  await (await gateway.post(path, { model: 'tiny', messages, max_tokens: 8, stream: true })).text();
  await (await gateway.post(path, `{"model":"tiny","messages":[{"role":"user","content":"${PROMPT}"`)).text();
  await (await gateway.post(path, { model: 'tiny', messages, temperature: PROMPT })).text();
  gateway.simulators[0]?.faults.set({ fault: 'fail-fast', count: 3 });
  await (await gateway.post(path, { model: 'tiny', messages, max_tokens: 8 })).text();
  gateway.simulators[0]?.faults.clear();
  const said = choices[0]?.message.content ?? '';
  expect(said.length).toBeGreaterThan(20);
  return said;
}

async function journalText(gateway: TestGateway): Promise<string> {
  const directory = join(gateway.running.gateway.platform.config.dataDir, 'journal');
  const files = await readdir(directory, { recursive: true, withFileTypes: true });
  const texts = files.filter((file) => file.isFile()).map((file) => readFile(join(file.parentPath, file.name), 'utf8'));
  return (await Promise.all(texts)).join('\n');
}

/** The whole database as text. The engines' own keys are secrets of the operators that workers must be shown. */
async function allRows({ database: { sql } }: TestGateway): Promise<string> {
  const tables = await sql<{ name: string }[]>`
    select table_name as name from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE'`;
  const texts: string[] = [];
  for (const { name } of tables) {
    const rows = await sql<{ text: string }[]>`select t::text as text from ${sql(name)} t`;
    texts.push(...rows.map(({ text }) => text));
  }
  return texts.join('\n');
}
