/**
 * The journal on disk: append-only segments `<number>.log` in the instance's directory. All calls of a turn of the event
 * loop share one write. A segment whose calls are all settled becomes `<number>.settled`, and is removed a day later:
 * until then it can be replayed, without effect where the calls are, after a restore of the database to an earlier state.
 */
import {
  closeSync,
  fdatasync,
  fdatasyncSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import {
  decodeLine,
  encodeLine,
  type Journal,
  type JournalLevel,
  type JournalRecord,
  type RecordKind,
} from './journal.ts';

const SEGMENT_BYTES_MAX = 16 * 1024 * 1024;
const KEPT_MS = 24 * 60 * 60 * 1_000;
const WRITE_BYTES = 64 * 1024;
/** A character's in UTF-8. */
const CHARACTER_BYTES_MAX = 3;

export class FileJournal implements Journal {
  readonly #directory: string;
  readonly #level: JournalLevel;
  readonly #segmentBytesMax: number;
  #number: number;
  #file: number;
  #bytes = 0;
  #lines: string[] = [];
  /** What is written, unless it is long: new memory for every turn would cost more than its write. */
  readonly #buffer = Buffer.allocUnsafeSlow(WRITE_BYTES);
  /** Those who wait for the write that ends this turn; null while nothing is buffered. */
  #turn: PromiseWithResolvers<boolean> | null = null;
  /** Those whose write is done and who wait for the disk. */
  #written: PromiseWithResolvers<boolean>[] = [];
  #syncing: Promise<void> | null = null;
  /** How many calls are not settled yet, by the segment that they began in. */
  readonly #unsettled = new Map<number, number>();
  failure: Error | null = null;
  /** Segments before this one are kept, whatever is known of their calls. */
  #retiredFrom: number;

  /** Opens the next segment. Those before it stay until `retireEarlier`. */
  constructor(directory: string, options: { level: JournalLevel; segmentBytesMax?: number }) {
    this.#directory = directory;
    this.#level = options.level;
    this.#segmentBytesMax = options.segmentBytesMax ?? SEGMENT_BYTES_MAX;
    mkdirSync(directory, { recursive: true });
    this.#number = segmentsIn(directory).reduce((last, { number }) => (number > last ? number : last), 0) + 1;
    this.#retiredFrom = this.#number;
    this.#file = this.#create();
    this.#retire();
  }

  begin(): number {
    this.#unsettled.set(this.#number, (this.#unsettled.get(this.#number) ?? 0) + 1);
    return this.#number;
  }

  append(kind: RecordKind, call: string): void {
    if (this.failure !== null) return;
    if (this.#turn === null) {
      this.#turn = Promise.withResolvers();
      process.nextTick(() => this.#write());
    }
    this.#lines.push(encodeLine(kind, call));
  }

  flushed(): Promise<boolean> {
    if (this.failure !== null) return Promise.resolve(false);
    return (this.#turn ?? this.#written.at(-1))?.promise ?? Promise.resolve(true);
  }

  /** Tells that all calls of the segments before the first of its own are settled. */
  retireEarlier(): void {
    this.#retiredFrom = 0;
    this.#retire();
  }

  settled(segment: number, calls: number): void {
    const left = (this.#unsettled.get(segment) ?? calls) - calls;
    if (left > 0) this.#unsettled.set(segment, left);
    else this.#unsettled.delete(segment);
  }

  /** Writes what is buffered and closes the file. When all calls are settled, its segment is retired at the next start. */
  async close(): Promise<void> {
    this.#write();
    await this.#syncing;
    closeSync(this.#file);
    this.failure ??= new Error('the journal is closed');
  }

  #write(): void {
    const turn = this.#turn;
    if (turn === null) return;
    const bytes = this.#bytesOf(`${this.#lines.join('\n')}\n`);
    this.#lines = [];
    this.#turn = null;
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(this.#file, bytes, at);
      this.#bytes += bytes.length;
    } catch (error) {
      turn.resolve(false);
      this.#fail(error);
      return;
    }
    if (this.#level === 'page') turn.resolve(true);
    else this.#written.push(turn);
    this.#rotateOrSync();
  }

  #bytesOf(text: string): Uint8Array {
    if (text.length * CHARACTER_BYTES_MAX > this.#buffer.length) return Buffer.from(text);
    return this.#buffer.subarray(0, this.#buffer.write(text));
  }

  #rotateOrSync(): void {
    if (this.#syncing !== null) return;
    try {
      if (this.#bytes >= this.#segmentBytesMax) this.#rotate();
    } catch (error) {
      this.#fail(error);
      return;
    }
    if (this.#written.length > 0) this.#syncing = this.#sync();
  }

  /** One fdatasync for all that was written before it; what is written meanwhile shares the next one. */
  async #sync(): Promise<void> {
    const covered = this.#written.length;
    const error = await new Promise<Error | null>((done) => fdatasync(this.#file, done));
    this.#syncing = null;
    if (error !== null) {
      this.#fail(error);
      return;
    }
    for (const turn of this.#written.splice(0, covered)) turn.resolve(true);
    this.#rotateOrSync();
  }

  #rotate(): void {
    if (this.#level === 'disk') fdatasyncSync(this.#file);
    for (const turn of this.#written.splice(0)) turn.resolve(true);
    closeSync(this.#file);
    this.#number += 1;
    this.#bytes = 0;
    this.#file = this.#create();
    this.#retire();
  }

  #create(): number {
    const file = openSync(join(this.#directory, segmentName(this.#number, 'log')), 'ax', 0o600);
    if (this.#level === 'disk') syncDirectory(this.#directory);
    return file;
  }

  /** Nothing is written after a failed write: a torn record must stay the last one of its segment. */
  #fail(error: unknown): void {
    this.failure = error instanceof Error ? error : new Error('the journal cannot be written', { cause: error });
    this.#turn?.resolve(false);
    for (const waiting of this.#written.splice(0)) waiting.resolve(false);
    this.#lines = [];
    this.#turn = null;
  }

  /** A call has its records in the segment that it began in or later ones: older segments are settled as a whole. */
  #retire(): void {
    let oldest = this.#number;
    for (const number of this.#unsettled.keys()) if (number < oldest) oldest = number;
    for (const { number, state } of segmentsIn(this.#directory)) {
      const path = join(this.#directory, segmentName(number, state));
      if (state === 'log' && number < oldest && number >= this.#retiredFrom) {
        renameSync(path, join(this.#directory, segmentName(number, 'settled')));
      } else if (state === 'settled' && Date.now() - statSync(path).mtimeMs > KEPT_MS) rmSync(path);
    }
  }
}

/** Something in a segment that is not as it was written. A torn tail was never acknowledged; a corrupt line may have been. */
export interface Damage {
  readonly segment: number;
  readonly line: number;
  readonly kind: 'torn' | 'corrupt';
}

/** Reads the records of all unsettled segments in the order of writing, and tells of every line that it could not read. Throws NewerRecord. */
export function readJournal(directory: string): { records: JournalRecord[]; damage: Damage[] } {
  const records: JournalRecord[] = [];
  const damage: Damage[] = [];
  for (const { number, state } of segmentsIn(directory)) {
    if (state !== 'log') continue;
    const lines = readFileSync(join(directory, segmentName(number, state)), 'utf8').split('\n');
    const tail = lines.pop() ?? '';
    lines.forEach((line, index) => {
      const record = decodeLine(line);
      if (record !== null) records.push(record);
      else damage.push({ segment: number, line: index + 1, kind: 'corrupt' });
    });
    if (tail === '') continue;
    // A whole record in front of something else than its newline was not torn: it may have been acknowledged.
    const whole = decodeLine(tail.slice(0, -1));
    if (whole !== null) records.push(whole);
    damage.push({ segment: number, line: lines.length + 1, kind: whole === null ? 'torn' : 'corrupt' });
  }
  return { records, damage };
}

/** Puts segments with corrupt lines aside, as `<number>.damaged`, for a person to look at: they are never removed. */
export function setDamagedAside(directory: string, damage: readonly Damage[]): void {
  for (const number of new Set(damage.filter(({ kind }) => kind === 'corrupt').map(({ segment }) => segment))) {
    renameSync(join(directory, segmentName(number, 'log')), join(directory, segmentName(number, 'damaged')));
  }
}

type SegmentState = 'log' | 'settled' | 'damaged';

function segmentName(number: number, state: SegmentState): string {
  return `${number.toString().padStart(8, '0')}.${state}`;
}

/** All segments of a directory, oldest first. */
function segmentsIn(directory: string): { number: number; state: SegmentState }[] {
  return readdirSync(directory)
    .map((name) => /^(\d{8})\.(log|settled|damaged)$/.exec(name))
    .filter((match) => match !== null)
    .map((match) => ({ number: parseInt(match[1] ?? '', 10), state: match[2] as SegmentState }))
    .sort((a, b) => a.number - b.number);
}

/** Makes a new file's name survive the loss of the machine. */
function syncDirectory(directory: string): void {
  const handle = openSync(directory, 'r');
  fsyncSync(handle);
  closeSync(handle);
}
