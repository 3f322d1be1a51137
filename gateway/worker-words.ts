/** What every answer of a worker says of it: put into words once. */
import { idOrNull } from '../payments/record.ts';
import type { WorkerRecord } from '../router/worker.ts';
import { fieldLines, inOnePiece } from './wire/fields.ts';

interface WorkerWords {
  /** Of the head. */
  readonly lines: string;
  /** Of the `usage`: JSON without braces. */
  readonly members: string;
}

const known = new WeakMap<WorkerRecord, WorkerWords>();

export function wordsOf(worker: WorkerRecord): WorkerWords {
  return known.get(worker) ?? say(worker);
}

function say(worker: WorkerRecord): WorkerWords {
  const { id, region } = worker;
  const words = {
    lines: inOnePiece(fieldLines({ 'x-faregate-worker': id, 'x-faregate-region': region })),
    members: inOnePiece(`"worker":${idOrNull(id)},"region":${JSON.stringify(region)}`),
  };
  known.set(worker, words);
  return words;
}
