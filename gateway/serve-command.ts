import { parseArgs } from 'node:util';
import { readConfig } from './config.ts';
import { startGateway } from './node.ts';
import { untilStopped } from './shutdown.ts';

const HELP = `faregate serve

Runs the gateway until SIGTERM or Ctrl-C. It is configured by the environment (README.md lists the variables);
without DATABASE_URL it brings its own Postgres in the data directory.
When it is ready it prints {"event":"ready","url":…,"pid":…} on stdout; logs go to stderr.
`;

export async function serveCommand(argv: string[]): Promise<number> {
  const { values } = parseArgs({ args: argv, options: { help: { type: 'boolean' } } });
  if (values.help === true) {
    process.stdout.write(HELP);
    return 0;
  }
  const running = await startGateway(readConfig(process.env));
  process.stdout.write(`${JSON.stringify({ event: 'ready', url: running.url, pid: process.pid })}\n`);
  await untilStopped((hurry) => running.stop(hurry));
  return 0;
}
