/** An instance is its directory: the identity in it, and the lock that lets one process at a time be that instance. */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { newId } from './ledger.ts';
import { errorCode } from './retry.ts';

export interface InstanceDirectory {
  readonly path: string;
  /** `inst_…`, made at the first start and kept in the directory. */
  readonly id: string;
  unlock(): void;
}

/** Takes the directory for this process; throws while another living process has it. */
export function lockDirectory(path: string): InstanceDirectory {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  const lock = join(path, 'lock');
  const self = `${process.pid} ${startOf(process.pid)}`;
  if (!createOnly(lock, self)) {
    const [pid, start] = readFileSync(lock, 'utf8').split(' ');
    if (isAlive(parseInt(pid ?? '', 10), start ?? '')) throw new Error(`process ${pid} runs on ${path} already`);
    rmSync(lock, { force: true });
    if (!createOnly(lock, self)) throw new Error(`another process has just taken ${path}`);
  }
  return { path, id: identity(path), unlock: () => rmSync(lock, { force: true }) };
}

function identity(path: string): string {
  const file = join(path, 'id');
  if (!existsSync(file)) {
    // Under its name only when whole: half an identity would orphan the journal's money.
    const draft = join(path, 'id.draft');
    writeFileSync(draft, newId('inst'), { mode: 0o600, flush: true });
    renameSync(draft, file);
  }
  return readFileSync(file, 'utf8');
}

/** False when the file is there already. */
function createOnly(file: string, text: string): boolean {
  try {
    writeFileSync(file, text, { flag: 'wx', mode: 0o600, flush: true });
    return true;
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return false;
    throw error;
  }
}

/** A process number alone proves little: in a container a restarted process often has the number of its predecessor. */
function isAlive(pid: number, start: string): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (errorCode(error) !== 'EPERM') return false;
  }
  return startOf(pid) === start && (start !== UNKNOWN_START || pid !== process.pid);
}

const UNKNOWN_START = '-';

/** When a process started, in the kernel's own unit (proc(5), field 22 of `stat`); `-` where the system does not tell. */
function startOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? UNKNOWN_START;
  } catch {
    return UNKNOWN_START;
  }
}
