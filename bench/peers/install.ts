/** `npm run bench:peers -- install`: installs the other gateways with the ordinary clients, each pinned, in a folder outside of what git keeps. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { peers } from './list.ts';
import { INSTALLED } from './part.ts';
import type { Peer, Step } from './peer.ts';

const HELP = `npm run bench:peers -- install [name …] [--peers DIR] [--source name=DIR]

Installs the gateways that \`npm run bench\` compares with, or those named: ${peers.map(({ name }) => name).join(', ')}.
  --peers DIR         where to, ${INSTALLED} unless told; give \`npm run bench\` the same
  --source name=DIR   clone the repository of one from here instead of from its home (its tag must be there)
Needs npm, python3 with venv, git, go and cargo, each for what is written in it. Exits 1 when one could not be installed.
What can be had by no such client, as Bifrost, is measured with \`npm run bench -- --peer\`: see bench/peers/README.md.
`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    peers: { type: 'string', default: INSTALLED },
    source: { type: 'string', multiple: true, default: [] },
    help: { type: 'boolean', default: false },
  },
});
const [command, ...names] = positionals;
if (values.help || command !== 'install') process.stdout.write(HELP);
else process.exitCode = installAll(resolve(values.peers)) ? 0 : 1;

function installAll(folder: string): boolean {
  const wanted = peers.filter(({ name }) => names.length === 0 || names.some((given) => same(given, name)));
  const failures = wanted.map((peer) => {
    process.stdout.write(`${peer.name} ${peer.version} …\n`);
    const failure = install(peer, join(folder, peer.folder));
    process.stdout.write(failure === null ? '  installed\n' : `  could not be installed: ${failure}\n`);
    return failure;
  });
  if (wanted.length === 0) process.stderr.write(`There is no ${names.join(', ')} here.\n${HELP}`);
  return wanted.length > 0 && failures.every((failure) => failure === null);
}

/** Answers why it could not be. What was there before is gone first. */
function install({ name, install: { files = {}, steps, source } }: Peer, folder: string): string | null {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const [path, text] of Object.entries(files)) writeFileSync(join(folder, path), text);
  const clone = (source === undefined ? [] : [cloned(source.repository, source.tag, name)]) satisfies Step[];
  for (const [program = '', ...args] of [...clone, ...steps]) {
    const { status, stderr, error } = spawnSync(program, args, { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
    if (status !== 0) {
      rmSync(folder, { recursive: true, force: true });
      return `${program} ${args[0]}: ${error?.message ?? lastLine(stderr.toString())}`;
    }
  }
  return null;
}

function cloned(repository: string, tag: string, name: string): Step {
  const given = values.source.map((text) => text.split('=')).find(([of = '']) => same(of, name));
  const from = given?.[1] === undefined ? repository : resolve(given[1]);
  return ['git', 'clone', '--quiet', '--branch', tag, from, 'source'];
}

function same(given: string, name: string): boolean {
  return given.toLowerCase() === name.toLowerCase();
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? '';
}
