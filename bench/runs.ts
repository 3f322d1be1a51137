/** One run: the generator loads a process, and what that process used meanwhile is measured. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { Job, Loaded, Report } from './job.ts';
import type { Measured } from './processes.ts';

export interface Run {
  readonly loaded: Loaded;
  /** CPU of the measured process while the calls were counted; null where nobody can tell. */
  readonly cpuUs: number | null;
}

/** Throws when a call failed: a fast run that loses a call is a failed run. */
export async function runJob(generator: ChildProcess, measured: Measured, job: Job): Promise<Run> {
  const next = async (): Promise<Report> => {
    const [report] = (await once(generator, 'message')) as [Report];
    return report;
  };
  const counting = next();
  generator.send(job);
  await counting;
  const counted = next();
  const before = await measured.used();
  await counted;
  const done = next();
  const after = await measured.used();
  const report = await done;
  if (report.event !== 'done') throw new Error(`the generator said ${report.event}`);
  const { failures, firstFailure } = report.loaded;
  if (failures > 0) throw new Error(`${failures} calls failed, the first with: ${firstFailure}`);
  const told = before.cpuUs !== null && after.cpuUs !== null;
  return { loaded: report.loaded, cpuUs: told ? after.cpuUs - before.cpuUs : null };
}
