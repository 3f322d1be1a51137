/**
 * A gateway's ledger in a process of its own, for the tests to kill: `node testing-child.ts URL DIRECTORY ACK ACCOUNT...`.
 * It holds, streams and captures calls until it is killed or its journal fails, and prints each call that it would have
 * acknowledged to its caller: the id and the charge. One more call never ends.
 */
import { join } from 'node:path';
import { connect } from '../db/connect.ts';
import { lockDirectory } from './directory.ts';
import { openInstance } from './instance.ts';
import { closing, request } from './testing.ts';

const [url = '', dataDir = '', ack = 'page', ...accounts] = process.argv.slice(2);
const CALLERS = 16;

const database = connect(url);
const instance = await openInstance({
  sql: database.sql,
  directory: lockDirectory(join(dataDir, 'journal')),
  ack: ack === 'disk' || ack === 'database' ? ack : 'page',
  now: () => performance.now(),
  log: { warn: print, error: print },
});
await beginEndlessCall();
await Promise.all(Array.from({ length: CALLERS }, (_, i) => callForEver(i)));
print({ healthy: instance.healthy() });
await instance.close();
await database.close();

/** A call that only the death of the process ends: it has come to 25 tokens. */
async function beginEndlessCall(): Promise<void> {
  const hold = await instance.holds.hold(request(accounts[0] ?? '', 100n));
  if ('code' in hold) throw new Error(hold.code);
  hold.open(closing(0, { streamed: true }));
  hold.progress(closing(25));
  await pause(1);
  print({ endless: hold.callId });
}

async function callForEver(caller: number): Promise<void> {
  for (let i = caller; instance.healthy(); i++) {
    const hold = await instance.holds.hold(request(accounts[i % accounts.length] ?? '', 100n));
    if ('code' in hold) {
      await pause(10);
      continue;
    }
    hold.open(closing(0, { streamed: true }));
    if (i % 3 === 0) await pause(1);
    hold.progress(closing(i % 40));
    if (i % 5 === 0) await pause(1);
    await hold.capture(closing(i % 120, { outcome: i % 7 === 0 ? 'aborted' : 'complete' }));
    print({ acknowledged: hold.callId, charged: hold.charged.toString() });
  }
}

function print(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
