/**
 * A gateway's ledger that leaves a long journal behind: `node unsettled-child.ts URL DIRECTORY ACCOUNT CALLS`. It holds so many calls
 * and says `held`; told to go on, it opens and captures all of them, says `journaled`, and waits to be killed.
 */
import { once } from 'node:events';
import { v7 as uuidv7 } from 'uuid';
import { connect } from '../../db/connect.ts';
import { lockDirectory } from '../../payments/directory.ts';
import { openInstance } from '../../payments/instance.ts';
import { CALL_NANOUSD, CLOSING } from './plain-call.ts';

const [url = '', directory = '', accountId = '', calls = ''] = process.argv.slice(2);
const ids = Array.from({ length: parseInt(calls, 10) }, () => uuidv7());

const { holds } = await openInstance({
  sql: connect(url).sql,
  directory: lockDirectory(directory),
  ack: 'page',
  now: () => performance.now(),
  log: { warn: console.error, error: console.error },
});
const held = await Promise.all(
  ids.map((callId) => holds.hold({ callId, accountId, keyId: 'unsettled', amount: CALL_NANOUSD })),
);
process.stdout.write('held\n');
await once(process.stdin, 'data');
await Promise.all(
  held.map((hold) => {
    if ('code' in hold) throw new Error(hold.code);
    hold.open(CLOSING);
    return hold.capture(CLOSING);
  }),
);
process.stdout.write('journaled\n');
