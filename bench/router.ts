/**
 * `npm run bench:router` (R11): what one choice costs with 128 workers and a prompt of 32k tokens, the hashing of the prompt included;
 * and whether memory stays level over a million distinct prompts.
 */
import { Buffer } from 'node:buffer';
import { parseArgs } from 'node:util';
import { Fleet } from '../router/fleet.ts';
import { pick } from '../router/pick.ts';
import { anyPolicy } from '../router/policy.ts';
import { prefixOf } from '../router/prefix.ts';
import type { Reservation } from '../router/reservation.ts';
import { machine, storeResult } from './machine.ts';

const HELP = `npm run bench:router

Prints the time of one choice (p50, p99, of the quietest of ten rounds: a shared machine gives time to others too) and the memory before and after a million distinct prompts, the mirrors being full, each with its budget, and stores
them in bench/results/.
`;

const WORKERS = 128;
const PROMPT_TOKENS = 32_768;
const BYTES_PER_TOKEN = 4;
const CHOICES = 20_000;
const ROUNDS = 10;
const WARM_CHOICES = 3_000;
/** Until every mirror is as full as its worker's cache, and then so many more. */
const FILLING_PROMPTS = 300_000;
const PROMPTS = 1_000_000;
const SMALL_PROMPT_BYTES = 2_048;
/** Calls that run at once. */
const OPEN = 512;
const MODEL = 'model';
const MB = 2 ** 20;

const NEED = {
  model: MODEL,
  tokensMax: PROMPT_TOKENS + 1_000,
  outputTokens: 200,
  sequences: 1,
  showsContent: true,
  policy: anyPolicy,
  exclude: new Set<string>(),
};

const { values } = parseArgs({ options: { help: { type: 'boolean', default: false } } });
if (values.help) process.stdout.write(HELP);
else await bench();

async function bench(): Promise<void> {
  const times = choices();
  const memory = prompts();
  const result = { ...times, ...memory };
  const lines = [
    line('one choice, p50, µs', times.p50Us, null),
    line('one choice, p99, µs', times.p99Us, 200),
    line('memory when all mirrors are full, MB', memory.fullMb, null),
    line('blocks of prompts that are known', memory.blocks, null),
    line('memory after a million prompts more, × that', memory.lateMb / memory.fullMb, 1.1),
  ];
  process.stdout.write(`${machine()}\n\n${lines.join('\n')}\n`);
  await storeResult('router', result);
}

/** Long conversations that go on, on a fleet that is busy. */
function choices(): { p50Us: number; p99Us: number } {
  const fleet = fleetOf();
  const text = Buffer.alloc(PROMPT_TOKENS * BYTES_PER_TOKEN);
  const took: number[] = [];
  const open: Reservation[] = [];
  for (let call = 0; call < WARM_CHOICES + CHOICES; call++) {
    // Some of a hundred conversations, each with its own beginning, changed a little further each time.
    text.fill(`conversation ${call % 100} `, 0, text.length / 2);
    text.fill(`turn ${call} `, text.length / 2);
    const beganMs = performance.now();
    const prefix = prefixOf('tenant', [text]);
    const choice = pick(fleet, { ...NEED, promptTokens: PROMPT_TOKENS, prefix });
    const elapsedUs = (performance.now() - beganMs) * 1_000;
    if (call >= WARM_CHOICES) took.push(elapsedUs);
    if (choice.kind === 'choice') open.push(choice.reservation);
    if (open.length > OPEN) end(open.shift());
  }
  const rounds = Array.from({ length: ROUNDS }, (_, round) => {
    const size = CHOICES / ROUNDS;
    return took.slice(round * size, (round + 1) * size).sort((a, b) => a - b);
  });
  const least = (share: number) => Math.min(...rounds.map((round) => round[Math.floor(round.length * share)] ?? 0));
  return { p50Us: least(0.5), p99Us: least(0.99) };
}

function prompts(): { fullMb: number; lateMb: number; blocks: number } {
  const fleet = fleetOf();
  const text = Buffer.alloc(SMALL_PROMPT_BYTES);
  let fullMb = 0;
  for (let call = 0; call < FILLING_PROMPTS + PROMPTS; call++) {
    text.writeUInt32LE(call);
    const choice = pick(fleet, {
      ...NEED,
      promptTokens: text.length / BYTES_PER_TOKEN,
      prefix: prefixOf('tenant', [text]),
    });
    if (choice.kind === 'choice') end(choice.reservation);
    if (call === FILLING_PROMPTS) fullMb = heapMb();
  }
  const lateMb = heapMb();
  // Asked last, so that the fleet is still there when its memory is measured.
  return { fullMb, lateMb, blocks: fleet.prefixes.size };
}

function fleetOf(): Fleet {
  const fleet = new Fleet({ now: () => performance.now(), random: Math.random });
  for (let index = 0; index < WORKERS; index++) {
    const models = [{ id: MODEL, contextLength: 131_072 }];
    const place = { country: 'NO', region: 'r', engineKey: null, state: 'active' } as const;
    const worker = fleet.upsert({
      id: `w${index}`,
      operator: `op${index}`,
      url: `http://w${index}`,
      models,
      slots: 64,
      ...place,
    });
    worker.times.rttMs = index;
  }
  return fleet;
}

function end(reservation: Reservation | undefined): void {
  reservation?.firstContent(100, performance.now());
  reservation?.release(performance.now());
}

function heapMb(): number {
  globalThis.gc?.();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return (heapUsed + arrayBuffers) / MB;
}

function line(name: string, value: number, limit: number | null): string {
  const verdict = limit === null ? '    ' : value <= limit ? 'met ' : 'over';
  return `${verdict}  ${name.padEnd(44)} ${value.toFixed(1).padStart(8)}${limit === null ? '' : `  ≤ ${limit}`}`;
}
