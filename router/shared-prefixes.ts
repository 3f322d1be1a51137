/**
 * Which prompts other gateways sent where, so that the next turn of a conversation finds its cache whichever gateway it comes to. Only keys
 * of blocks travel, only those that are new, and no more than fit into one notification; what is left out costs a worse guess.
 */
import { Buffer } from 'node:buffer';
import type { Fleet } from './fleet.ts';
import type { Prefix } from './prefix.ts';
import type { SharedLoadOptions } from './shared-load.ts';

/** Postgres takes 8,000 bytes in one notification. */
const MESSAGE_CHARACTERS = 7_500;
const CHARACTERS_PER_CHAIN = 64;

/** Worker, keys in base64, bytes of prompt for each. */
type Chain = readonly [string, string, number];

export class SharedPrefixes {
  readonly #fleet: Fleet;
  readonly #id: string;
  readonly #publish: (message: string) => void;
  #news: Chain[] = [];
  #characters = 0;

  constructor({ fleet, id, publish }: SharedLoadOptions) {
    this.#fleet = fleet;
    this.#id = id;
    this.#publish = publish;
    fleet.onSent = (worker, prefix, known) => this.#note(worker.record.id, prefix, known);
  }

  /** Tells what is new since the last time. */
  tick(): void {
    if (this.#news.length === 0) return;
    this.#publish(JSON.stringify({ gateway: this.#id, chains: this.#news }));
    this.#news = [];
    this.#characters = 0;
  }

  /** A message of any gateway; of what is none nothing is taken. */
  receive(text: string): void {
    const message = parse(text);
    if (message === null || message.gateway === this.#id) return;
    for (const [worker, keys, bytes] of message.chains) {
      const packed = Buffer.from(keys, 'base64');
      const chain = Int32Array.from({ length: packed.length >> 2 }, (_, index) => packed.readInt32LE(index * 4));
      const ends = chain.map((_, index) => (index + 1) * bytes);
      this.#fleet.get(worker)?.mirror.add({ keys: chain, ends, length: 0 });
    }
  }

  #note(worker: string, { keys, ends }: Prefix, known: number): void {
    if (known >= keys.length) return;
    const fresh = keys.subarray(known);
    const packed = Buffer.from(fresh.buffer, fresh.byteOffset, fresh.byteLength).toString('base64');
    this.#characters += packed.length + CHARACTERS_PER_CHAIN;
    if (this.#characters > MESSAGE_CHARACTERS) return;
    const bytes = ((ends.at(-1) ?? 0) - (ends[known - 1] ?? 0)) / fresh.length;
    this.#news.push([worker, packed, Math.round(bytes)]);
  }
}

function parse(text: string): { gateway: string; chains: Chain[] } | null {
  try {
    const message = JSON.parse(text);
    return Array.isArray(message.chains) && message.chains.every(isChain) ? message : null;
  } catch {
    return null;
  }
}

function isChain(value: unknown): value is Chain {
  if (!Array.isArray(value)) return false;
  const [worker, keys, bytes] = value;
  return typeof worker === 'string' && typeof keys === 'string' && Number.isSafeInteger(bytes) && bytes > 0;
}
