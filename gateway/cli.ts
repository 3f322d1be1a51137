/** The `faregate` command. Exit 0 done, 1 failed, 2 bad usage. */

import { simulateVllmCommand } from '../workers/simulator/command.ts';
import { adminCommand } from './admin-command.ts';
import { demoCommand } from './demo.ts';
import { serveCommand } from './serve-command.ts';

const commands: Readonly<Record<string, { run: (argv: string[]) => Promise<number>; about: string }>> = {
  serve: { run: serveCommand, about: 'run the gateway' },
  demo: { run: demoCommand, about: 'run the gateway with simulated workers, make some calls, show what happened' },
  'simulate-vllm': { run: simulateVllmCommand, about: 'run a server that behaves as vLLM does' },
  admin: { run: adminCommand, about: 'accounts, keys, prices, operators, workers, checks of a running gateway' },
};

function usage(): string {
  const lines = Object.entries(commands).map(([name, { about }]) => `  ${name.padEnd(14)} ${about}`);
  return `faregate <command> [options]\n\n${lines.join('\n')}\n\nEvery command takes --help.\n`;
}

async function main(argv: string[]): Promise<number> {
  const [name, ...rest] = argv;
  const command = name === undefined ? undefined : commands[name];
  if (command !== undefined) return command.run(rest);
  if (name === '--help' || name === '-h' || name === 'help') {
    process.stdout.write(usage());
    return 0;
  }
  process.stderr.write(name === undefined ? usage() : `faregate: no command "${name}"\n\n${usage()}`);
  return 2;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`faregate: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
