import { expect, it } from 'vitest';
import { recordedCases, send } from './dev-cases.ts';
import { varying } from './differences.ts';
import { lanesOf } from './stream-lanes.ts';

const main = { url: process.env.DEV_URL ?? '', apiKey: 'test', model: 'tiny' };
const embed = { url: process.env.DEV_EMBED ?? '', apiKey: 'test', model: 'tiny-embed' };
function strip(v: any, p = ''): any {
  if (varying.some((w) => w.path.test(p))) return 'x';
  if (Array.isArray(v)) return v.map((x, i) => strip(x, `${p}[${i}]`));
  if (v && typeof v === 'object')
    return Object.fromEntries(Object.entries(v).map(([k, x]) => [k, strip(x, p ? `${p}.${k}` : k)]));
  return v;
}
const norm = (c: any) => (Array.isArray(c) ? lanesOf(c.map((e) => strip(e))) : strip(c));
it.each(recordedCases())('$name', async (c) => {
  const s = c.embedding ? embed : main;
  const a = await send(c, s);
  const b = await send(c, s);
  expect(b.status).toBe(a.status);
  expect(norm(b.content)).toEqual(norm(a.content));
});
