/**
 * Real traces, read from a path of the reader's own (none is shipped): Mooncake's JSON lines, whose prompts come with the ids of their
 * blocks, and Azure's CSV, which says nothing about prefixes.
 */
import { readFile } from 'node:fs/promises';
import { BLOCK_TOKENS, type TraceCall } from './trace.ts';

/** Tokens of a block in Mooncake's traces; its times are rounded down to so many milliseconds. */
const MOONCAKE_BLOCK_TOKENS = 512;
const MOONCAKE_TICK_MS = 3_000;

/** `load`: at so many times the rate of the trace. Throws on a line that is neither. */
export async function readTrace(path: string, load: number, random: () => number): Promise<TraceCall[]> {
  const lines = (await readFile(path, 'utf8')).split('\n').filter((line) => line.trim() !== '');
  const calls = lines[0]?.startsWith('{') ? lines.map((line) => mooncakeCall(line, random)) : azureCalls(lines);
  const startMs = Math.min(...calls.map(({ atMs }) => atMs));
  return calls.map((call) => ({ ...call, atMs: (call.atMs - startMs) / load })).sort((a, b) => a.atMs - b.atMs);
}

function mooncakeCall(line: string, random: () => number): TraceCall {
  const call = JSON.parse(line) as {
    timestamp: number;
    input_length: number;
    output_length: number;
    hash_ids: number[];
  };
  const parts = MOONCAKE_BLOCK_TOKENS / BLOCK_TOKENS;
  const keys = call.hash_ids.flatMap((id) => Array.from({ length: parts }, (_, part) => id * parts + part));
  return {
    atMs: call.timestamp + random() * MOONCAKE_TICK_MS,
    inputTokens: call.input_length,
    outputTokens: Math.max(1, call.output_length),
    keys: Int32Array.from(keys.slice(0, Math.floor(call.input_length / BLOCK_TOKENS))),
  };
}

function azureCalls([head = '', ...lines]: readonly string[]): TraceCall[] {
  if (head.trim() !== 'TIMESTAMP,ContextTokens,GeneratedTokens')
    throw new Error('neither Mooncake JSON lines nor Azure CSV');
  return lines.map((line, index) => {
    const [time = '', input = '', output = ''] = line.split(',');
    const inputTokens = Number(input);
    const keys = Int32Array.from({ length: Math.floor(inputTokens / BLOCK_TOKENS) }, (_, at) =>
      Math.imul(index * 4_096 + at, 0x9e3779b1),
    );
    return {
      atMs: Date.parse(`${time.trim().replace(' ', 'T').slice(0, 23)}Z`),
      inputTokens,
      outputTokens: Math.max(1, Number(output)),
      keys,
    };
  });
}
