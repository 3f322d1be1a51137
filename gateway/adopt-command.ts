import { existsSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { connect } from '../db/connect.ts';
import { readConfig } from './config.ts';
import { settleJournals } from './journals.ts';
import { stderrLog } from './node.ts';

const HELP = `faregate adopt DIRECTORY...

Settles what gateways that will not come back left in their data directories, found on the disk of a lost machine or in a copy of
it, and returns what they had leased. The calls are charged as if those gateways had done it; a second time changes nothing.
Refuses while one of them still runs, wherever that is. Needs DATABASE_URL, and to write to the directories.
`;

export async function adoptCommand(argv: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: argv,
    allowPositionals: true,
    options: { help: { type: 'boolean' } },
  });
  const missing = positionals.find((path) => !existsSync(path));
  if (values.help === true || positionals.length === 0 || missing !== undefined) {
    if (missing !== undefined) process.stderr.write(`faregate adopt: there is no ${missing}\n\n`);
    (values.help === true ? process.stdout : process.stderr).write(HELP);
    return values.help === true ? 0 : 2;
  }
  const config = readConfig(process.env);
  if (config.databaseUrl === undefined) throw new Error('set DATABASE_URL to the database of the lost gateways');
  const { sql, close } = connect(config.databaseUrl);
  try {
    const options = { sql, ack: config.ack, log: stderrLog(config), now: () => performance.now() };
    for (const path of positionals) {
      for (const instance of await settleJournals(path, new Set(), options)) {
        process.stdout.write(`${JSON.stringify({ event: 'adopted', directory: path, instance })}\n`);
      }
    }
  } finally {
    await close();
  }
  return 0;
}
