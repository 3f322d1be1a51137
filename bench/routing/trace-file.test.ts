import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { BLOCK_TOKENS } from './trace.ts';
import { readTrace } from './trace-file.ts';

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'faregate-trace-'));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

async function read(text: string, load = 1) {
  const path = join(directory, 'trace');
  await writeFile(path, text);
  return readTrace(path, load, () => 0.5);
}

test('a Mooncake trace keeps which prompts begin alike, and its times are spread over their ticks', async () => {
  const calls = await read(
    [
      { timestamp: 3_000, input_length: 1_100, output_length: 10, hash_ids: [7, 8, 9] },
      { timestamp: 0, input_length: 600, output_length: 0, hash_ids: [7, 5] },
    ]
      .map((call) => JSON.stringify(call))
      .join('\n'),
    2,
  );
  expect(calls.map(({ atMs, inputTokens, outputTokens }) => [atMs, inputTokens, outputTokens])).toEqual([
    [0, 600, 1],
    [1_500, 1_100, 10],
  ]);
  const [first, second] = calls;
  const common = 512 / BLOCK_TOKENS;
  expect(first?.keys.length).toBe(Math.floor(600 / BLOCK_TOKENS));
  expect(second?.keys.slice(0, common)).toEqual(first?.keys.slice(0, common));
});

test('an Azure trace is read by its columns', async () => {
  const calls = await read(
    'TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:15:46.6805900,374,44\r\n2023-11-16 18:15:50.9951690,396,109\r\n',
  );
  expect(calls.map(({ atMs, inputTokens, outputTokens }) => [atMs, inputTokens, outputTokens])).toEqual([
    [0, 374, 44],
    [4_315, 396, 109],
  ]);
});

test('a file that is neither is refused', async () => {
  await expect(read('a,b\n1,2\n')).rejects.toThrow('neither Mooncake JSON lines nor Azure CSV');
});
