import cluster from 'node:cluster';
import { parseArgs } from 'node:util';
import { tuneCollector } from './collector.ts';
import { type Config, readConfig } from './config.ts';
import { startGateway, stderrLog } from './node.ts';
import { untilStopped } from './shutdown.ts';

const HELP = `faregate serve

Runs the gateway until SIGTERM or Ctrl-C. It is configured by the environment (README.md lists the variables);
without DATABASE_URL it brings its own Postgres in the data directory. With FAREGATE_PROCESSES above 1 it runs so many
processes behind one port, starts again who crashed, and replaces one after the other on SIGHUP.
When it is ready it prints {"event":"ready","url":…,"pid":…} on stdout; logs go to stderr.
`;

export async function serveCommand(argv: string[]): Promise<number> {
  const { values } = parseArgs({ args: argv, options: { help: { type: 'boolean' } } });
  if (values.help === true) {
    process.stdout.write(HELP);
    return 0;
  }
  tuneCollector();
  const config = readConfig(process.env);
  await (config.processes > 1 ? serveInProcesses(config) : serveHere(config));
  return 0;
}

async function serveHere(config: Config): Promise<void> {
  const running = await startGateway(config);
  announce(running.url);
  await untilStopped((hurry) => running.stop(hurry));
  cluster.worker?.disconnect();
}

async function serveInProcesses(config: Config): Promise<void> {
  const { startProcesses } = await import('./processes.ts');
  const log = stderrLog(config);
  const running = await startProcesses(config, log);
  let restarting = Promise.resolve();
  process.on('SIGHUP', () => {
    restarting = restarting.then(() => running.restart()).catch((error) => log.error({ err: error }, 'no restart'));
  });
  announce(running.url);
  await untilStopped((hurry) => running.stop(hurry));
}

/** One of several processes tells the one that keeps them, which tells the world. */
function announce(url: string): void {
  const ready = { event: 'ready', url, pid: process.pid };
  if (cluster.isWorker) process.send?.(ready);
  else process.stdout.write(`${JSON.stringify(ready)}\n`);
}
