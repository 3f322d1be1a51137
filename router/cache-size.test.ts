import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { cacheTokensOf } from './cache-size.ts';

test('the size of a cache is read off the page of a real vLLM; a page that says nothing tells nothing', async () => {
  const recording = new URL('../workers/recordings/get-metrics.json', import.meta.url);
  const page = JSON.stringify(JSON.parse(await readFile(recording, 'utf8')));
  const text = page.replaceAll('\\n', '\n').replaceAll('\\"', '"');
  expect(cacheTokensOf(text)).toBe(8_192 * 128);
  expect(cacheTokensOf('')).toBe(null);
  expect(cacheTokensOf('vllm:cache_config_info{block_size="16",num_gpu_blocks="None"} 1.0')).toBe(null);
  expect(cacheTokensOf('vllm:cache_config_info{num_gpu_blocks="10",engine="0",block_size="16"} 1.0')).toBe(160);
});
