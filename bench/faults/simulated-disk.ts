/**
 * A disk in memory for the simulation, in the place of `node:fs`: what was written is in the page cache until it is synced, and each
 * crash takes what such crashes take. Files of a life that is over can no longer be written by it.
 */
import { type Random, randomInteger } from '../../workers/simulator/random.ts';

interface File {
  bytes: Buffer;
  /** How much of it survives the machine. */
  syncedBytes: number;
  /** Whether its name does. */
  named: boolean;
}

interface Handle {
  readonly file: File | null;
  readonly life: number;
}

export interface DiskFaults {
  /** Syncs report success and do nothing. */
  lies: boolean;
  /** The next write puts so much of its bytes down, in millionths, and ends the life. */
  tearNextPpm: number | null;
  /** Hears of the end of a life by a torn write. */
  torn: () => void;
}

const state = {
  files: new Map<string, File>(),
  handles: new Map<number, Handle>(),
  nextHandle: 3,
  life: 0,
  random: (() => 0) as Random,
};
export const faults: DiskFaults = { lies: false, tearNextPpm: null, torn: () => {} };

/** An empty disk, whose syncs take as long as `random` says. */
export function format(random: Random): void {
  state.random = random;
  state.files.clear();
  state.handles.clear();
  Object.assign(faults, { lies: false, tearNextPpm: null, torn: () => {} });
}

/** The process is gone: its handles are dead, all that was written stays. */
export function killProcess(): void {
  state.life += 1;
}

/** The machine is gone: of what was not synced there is a part, or zeros in its place, or nothing. */
export function loseMachine(random: Random): void {
  killProcess();
  for (const [path, file] of state.files) {
    if (!file.named && random() < 0.5) {
      state.files.delete(path);
      continue;
    }
    const tail = file.bytes.subarray(file.syncedBytes);
    const kept = tail.subarray(0, randomInteger(random, 0, tail.length));
    const survivor = random() < 0.3 ? Buffer.alloc(tail.length) : kept;
    file.bytes = Buffer.concat([file.bytes.subarray(0, file.syncedBytes), survivor]);
    file.syncedBytes = file.bytes.length;
    file.named = true;
  }
}

/** Flips one bit of one file; false when there is nothing to flip. */
export function flipBit(random: Random): boolean {
  const written = [...state.files.values()].filter(({ bytes }) => bytes.length > 0);
  const file = written[Math.floor(random() * written.length)];
  if (file === undefined) return false;
  file.bytes = Buffer.from(file.bytes);
  const at = randomInteger(random, 0, file.bytes.length - 1);
  file.bytes[at] = (file.bytes[at] ?? 0) ^ (1 << randomInteger(random, 0, 7));
  return true;
}

/** A segment is there once more, under a later number: a copy that somebody put back. */
export function duplicateSegment(random: Random): void {
  const paths = [...state.files.keys()].filter((path) => /\.(log|settled)$/.test(path));
  const path = paths[Math.floor(random() * paths.length)];
  const file = path === undefined ? undefined : state.files.get(path);
  if (path === undefined || file === undefined) return;
  const last = Math.max(...paths.map((name) => parseInt(name.slice(-16), 10) || parseInt(name.slice(-12), 10)));
  const copy = path.replace(/\d{8}\.(log|settled)$/, `${String(last + 1).padStart(8, '0')}.log`);
  state.files.set(copy, { bytes: Buffer.from(file.bytes), syncedBytes: file.bytes.length, named: true });
}

export function openSync(path: string, flags: string): number {
  const handle = state.nextHandle++;
  if (flags === 'ax') {
    if (state.files.has(path)) throw systemError('EEXIST');
    state.files.set(path, { bytes: Buffer.alloc(0), syncedBytes: 0, named: false });
  }
  state.handles.set(handle, { file: state.files.get(path) ?? null, life: state.life });
  return handle;
}

export function writeSync(handle: number, bytes: Buffer, at: number): number {
  const { file } = alive(handle);
  if (file === null) throw systemError('EBADF');
  const rest = bytes.subarray(at);
  const torn = faults.tearNextPpm;
  const written = torn === null ? rest : rest.subarray(0, Math.floor((rest.length * torn) / 1_000_000));
  file.bytes = Buffer.concat([file.bytes, written]);
  if (torn !== null) {
    faults.tearNextPpm = null;
    faults.torn();
    throw systemError('EIO');
  }
  return written.length;
}

export function fdatasyncSync(handle: number): void {
  const { file } = alive(handle);
  if (file !== null && !faults.lies) file.syncedBytes = file.bytes.length;
}

export function fdatasync(handle: number, done: (error: Error | null) => void): void {
  const { file } = alive(handle);
  const covered = file?.bytes.length ?? 0;
  afterTurns(randomInteger(state.random, 1, 4), () => {
    const isOver = state.handles.get(handle)?.life !== state.life;
    if (!isOver && file !== null && !faults.lies) file.syncedBytes = Math.max(file.syncedBytes, covered);
    done(isOver ? systemError('EIO') : null);
  });
}

/** Of a directory: the names in it survive from now on. */
export function fsyncSync(handle: number): void {
  alive(handle);
  if (!faults.lies) for (const file of state.files.values()) file.named = true;
}

export function closeSync(handle: number): void {
  state.handles.delete(handle);
}

export function mkdirSync(): void {}

export function readdirSync(directory: string): string[] {
  return [...state.files.keys()]
    .filter((path) => path.startsWith(`${directory}/`))
    .map((path) => path.slice(directory.length + 1));
}

export function readFileSync(path: string): string {
  return state.files.get(path)?.bytes.toString('utf8') ?? '';
}

export function renameSync(from: string, to: string): void {
  const file = state.files.get(from);
  if (file === undefined) throw systemError('ENOENT');
  state.files.delete(from);
  state.files.set(to, file);
}

export function rmSync(path: string): void {
  state.files.delete(path);
}

export function statSync(): { mtimeMs: number } {
  return { mtimeMs: Date.now() };
}

function afterTurns(turns: number, work: () => void): void {
  setImmediate(turns === 1 ? work : () => afterTurns(turns - 1, work));
}

function alive(handle: number): Handle {
  const known = state.handles.get(handle);
  if (known === undefined || known.life !== state.life) throw systemError('EBADF');
  return known;
}

function systemError(code: string): Error {
  return Object.assign(new Error(code), { code });
}
