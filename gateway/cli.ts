/** The `faregate` command. Exit 0 done, 1 failed, 2 bad usage. */

type Command = (argv: string[]) => Promise<number>;

/** Loaded when called: `faregate admin` must not wait for what only the gateway needs. */
const commands: Readonly<Record<string, { load: () => Promise<Command>; about: string }>> = {
  serve: { load: async () => (await import('./serve-command.ts')).serveCommand, about: 'run the gateway' },
  adopt: {
    load: async () => (await import('./adopt-command.ts')).adoptCommand,
    about: 'settle what a lost gateway left on its disk',
  },
  demo: {
    load: async () => (await import('./demo.ts')).demoCommand,
    about: 'run the gateway with simulated workers, make some calls, show what happened',
  },
  'simulate-vllm': {
    load: async () => (await import('../workers/simulator/command.ts')).simulateVllmCommand,
    about: 'run a server that behaves as vLLM does',
  },
  admin: {
    load: async () => (await import('./admin-command.ts')).adminCommand,
    about: 'accounts, keys, prices, operators, workers, checks of a running gateway',
  },
};

function usage(): string {
  const lines = Object.entries(commands).map(([name, { about }]) => `  ${name.padEnd(14)} ${about}`);
  return `faregate <command> [options]\n\n${lines.join('\n')}\n\nEvery command takes --help.\n`;
}

async function main(argv: string[]): Promise<number> {
  const [name, ...rest] = argv;
  const command = name === undefined ? undefined : commands[name];
  if (command !== undefined) return (await command.load())(rest);
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
