import { readdirSync, readFileSync } from 'node:fs';
import type { Received } from './wire.ts';

const FOLDER = new URL('../../recordings/', import.meta.url);

/** A recorded request: one call, or (in `bodies`) several that ran together. */
export interface RecordedRequest {
  readonly method?: string;
  readonly path?: string;
  readonly body?: unknown;
  readonly bodies?: readonly Record<string, unknown>[];
  readonly raw?: string;
  readonly headers?: Readonly<Record<string, string | null>>;
}

/** What a call got; in recordings of several calls each of them has this form. */
export interface RecordedResponse {
  readonly began_ms?: number;
  readonly status: number | null;
  readonly ended: string;
  readonly headers?: readonly (readonly [string, string])[];
  readonly body?: unknown;
  readonly chunks?: readonly (readonly [number | string, string])[];
  readonly final_chunk?: boolean;
}

export interface Recording {
  readonly request: RecordedRequest;
  readonly response: RecordedResponse & { readonly calls?: readonly RecordedResponse[] } & Record<string, unknown>;
}

/** One step of a recorded conversation on one connection. */
export interface WireStep {
  readonly ms: number;
  readonly sent?: string;
  readonly got?: string;
  readonly ended?: string;
}

/** Names of all recordings. */
export const recordingNames: readonly string[] = readdirSync(FOLDER)
  .filter((file) => file.endsWith('.json'))
  .map((file) => file.slice(0, -'.json'.length))
  .toSorted();

function read(name: string): unknown {
  return JSON.parse(readFileSync(new URL(`${name}.json`, FOLDER), 'utf8'));
}

export const recording = (name: string): Recording => read(name) as Recording;

export const conversation = (name: string): readonly WireStep[] =>
  (read(name) as { conversation: readonly WireStep[] }).conversation;

/** When a recording was made, as far as its Date header tells. */
export function recordedAt(name: string): number {
  const date = recording(name).response.headers?.find(([header]) => header === 'date')?.[1];
  return date === undefined ? 0 : Date.parse(date);
}

/** A recorded response in the form of a received one. Marks of left-out chunks are dropped. */
export function asReceived({ status, headers, body, chunks, ended, final_chunk }: RecordedResponse): Received {
  return {
    status,
    headers: new Map((headers ?? []).map(([name, value]) => [name, value])),
    body: typeof body === 'string' ? body : JSON.stringify(body ?? null),
    chunks: chunks?.flatMap(([ms, text]) => (typeof ms === 'number' ? [text] : [])) ?? null,
    complete: chunks === undefined ? status !== null : final_chunk === true,
    ended,
  };
}

/** One row of DIFFERENCES.md: recordings (with `*` for any ending), what differs in them, and why. */
export interface Difference {
  readonly pattern: string;
  readonly what: string;
}

/** The written list of what does not match. */
export function readDifferences(): readonly Difference[] {
  const text = readFileSync(new URL('DIFFERENCES.md', FOLDER), 'utf8');
  return [...text.matchAll(/^\| `([^`]+)` \| ([^|]+) \|/gm)].map(([, pattern = '', what = '']) => ({
    pattern,
    what: what.trim(),
  }));
}

export function matches({ pattern }: Difference, name: string): boolean {
  return pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
}
