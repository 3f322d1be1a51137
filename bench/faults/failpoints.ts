/**
 * Loaded before a gateway by `node --import`, in the harness alone: it watches what the process does to its disk and its
 * callers, and kills it there, or lets its disk fail. The gateway itself knows nothing of it.
 *
 * FAULTS_KILL_AT=name:n   kill -9 at the n-th passage of the failpoint (names: `processFailpoints`)
 * FAULTS_DISK=code:file   every journal write fails with the code (ENOSPC, EIO, EROFS) while there is such a file
 */
import fs from 'node:fs';
import { ServerResponse } from 'node:http';
import { syncBuiltinESMExports } from 'node:module';

type Failpoint =
  | 'before open'
  | 'after open'
  | 'mid stream'
  | 'before close'
  | 'after close'
  | 'before ack'
  | 'segment mark';

const [point = '', passages = '1'] = (process.env.FAULTS_KILL_AT ?? ':').split(':');
const [diskError = '', marker = ''] = (process.env.FAULTS_DISK ?? ':').split(':');
let passagesLeft = Number(passages);

if (point !== '' || diskError !== '') {
  const { writeSync, renameSync } = fs;
  const write = writeSync as (...args: unknown[]) => number;
  fs.writeSync = ((...args: unknown[]): number => {
    const kinds = kindsIn(args[1]);
    if (kinds === '') return write(...args);
    failDisk();
    if (kinds.includes('open')) pass('before open');
    if (kinds.includes('close')) pass('before close');
    const written = write(...args);
    if (kinds.includes('open')) pass('after open');
    if (kinds.includes('progress')) pass('mid stream');
    if (kinds.includes('close')) pass('after close');
    return written;
  }) as typeof fs.writeSync;
  fs.renameSync = (from, to) => {
    if (String(to).endsWith('.settled')) pass('segment mark');
    renameSync(from, to);
    if (String(to).endsWith('.settled')) pass('segment mark');
  };
  syncBuiltinESMExports();
  watchAnswers();
}

/** The last bytes of a call carry its charge: this is the acknowledgement. */
function watchAnswers(): void {
  const end = ServerResponse.prototype.end as (...args: unknown[]) => ServerResponse;
  ServerResponse.prototype.end = function (this: ServerResponse, ...args: unknown[]): ServerResponse {
    if (textOf(args[0]).includes('charged_nanousd')) pass('before ack');
    return end.apply(this, args);
  } as typeof ServerResponse.prototype.end;
}

function pass(here: Failpoint): void {
  if (here !== point) return;
  passagesLeft -= 1;
  if (passagesLeft <= 0) process.kill(process.pid, 'SIGKILL');
}

function failDisk(): void {
  if (diskError === '' || !fs.existsSync(marker)) return;
  throw Object.assign(new Error(`${diskError}: injected`), { code: diskError });
}

/** Which kinds of journal records a write holds; empty for other writes. */
function kindsIn(data: unknown): string {
  return [...new Set(textOf(data).match(/(?<="kind":")(?:open|progress|close)(?=")/g))].join(' ');
}

function textOf(data: unknown): string {
  return data instanceof Uint8Array
    ? Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString()
    : String(data);
}
