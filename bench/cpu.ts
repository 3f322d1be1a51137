/** CPU of other processes, as Linux accounts it: the same clock that `process.cpuUsage()` reads of one's own. */
import { readdir, readFile } from 'node:fs/promises';

/** Of a process and all below it, so far, in microseconds; null where the system does not tell. Threads that ended are not in it. */
export async function treeCpuUs(pid: number): Promise<number | null> {
  const all = await membersCpuUs(pid);
  return all.size === 0 ? null : [...all.values()].reduce((sum, us) => sum + us, 0);
}

/** The same, of each by itself. */
export async function membersCpuUs(pid: number): Promise<ReadonlyMap<number, number>> {
  const members = await Promise.all((await tree(pid)).map(async (member) => [member, await cpuUs(member)] as const));
  return new Map(members.flatMap(([member, us]) => (us === null ? [] : [[member, us]])));
}

async function cpuUs(pid: number): Promise<number | null> {
  const folder = `/proc/${pid}/task`;
  const ids = await readdir(folder).catch(() => []);
  const spent = await Promise.all(ids.map((id) => nanoseconds(`${folder}/${id}/schedstat`)));
  return spent.length === 0 ? null : spent.reduce((sum, ns) => sum + ns, 0) / 1_000;
}

/** A process and its descendants. */
async function tree(root: number): Promise<number[]> {
  const pids = (await readdir('/proc').catch(() => [])).map(Number).filter(Number.isInteger);
  const parents = await Promise.all(pids.map(async (pid) => [pid, await parentOf(pid)] as const));
  const below = (pid: number): number[] => [
    pid,
    ...parents.filter(([, parent]) => parent === pid).flatMap(([child]) => below(child)),
  ];
  return below(root);
}

/** Its name stands in brackets before it, and may have brackets and blanks itself. */
async function parentOf(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '');
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1] ?? 0);
}

async function nanoseconds(file: string): Promise<number> {
  const text = await readFile(file, 'latin1').catch(() => '0');
  return Number(text.split(' ')[0]);
}
