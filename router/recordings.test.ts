/** A real vLLM, recorded byte for byte, as the judges see it. */
import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { StreamReader } from './answer.ts';
import { WholeReader } from './whole.ts';

interface Recording {
  readonly request?: { readonly path: string; readonly body?: unknown };
  readonly response?: { readonly status: number; readonly body?: string; readonly chunks?: [number, string][] };
}

const folder = new URL('../workers/recordings/', import.meta.url);
const encode = (text: string) => new TextEncoder().encode(text);
const isServed = /^\/v1\/(?:chat\/completions|completions|embeddings)$/;

const good = readdirSync(folder)
  .filter((name) => name.endsWith('.json'))
  .flatMap((name) => {
    const { request, response }: Recording = JSON.parse(readFileSync(new URL(name, folder), 'utf8'));
    return request !== undefined && response?.status === 200 && isServed.test(request.path)
      ? [{ name, request, response }]
      : [];
  });

/** How many answers were asked for. */
function sequencesOf(body: unknown): number {
  const { n = 1, prompt, input } = (typeof body === 'string' ? JSON.parse(body) : body) as Record<string, unknown>;
  const inputs = prompt ?? input;
  return Number(n) * (Array.isArray(inputs) && typeof inputs[0] !== 'number' ? inputs.length : 1);
}

test('there are recordings of streams and of whole answers', () => {
  expect(good.filter(({ response }) => response.chunks !== undefined).length).toBeGreaterThan(30);
  expect(good.filter(({ response }) => response.body !== undefined).length).toBeGreaterThan(50);
});

test.each(good)('$name is judged good', ({ request, response }) => {
  const sequences = sequencesOf(request.body);
  if (response.chunks === undefined) {
    const reader = new WholeReader(200, { path: request.path, model: 'tiny', sequences });
    reader.read(encode(response.body ?? ''));
    expect(reader.end().kind).toBe('whole');
    return;
  }
  const reader = new StreamReader('tiny', sequences);
  const reads = response.chunks.map(([, text]) => reader.read(encode(text)));
  expect(reads.findLast(({ end }) => end !== null)?.end).toEqual({ kind: 'complete' });
  expect(reads.filter(({ end }) => end !== null)).toHaveLength(1);
});
