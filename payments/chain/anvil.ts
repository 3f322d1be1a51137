/** anvil, an EVM node for one machine, as a child of this process on a free loopback port. Its binary comes from npm. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';

export interface Anvil {
  readonly url: string;
  stop(): Promise<void>;
}

type Child = ChildProcessByStdio<null, Readable, Readable>;

const START_LIMIT_MS = 30_000;

/** Starts a fresh chain that mines each transaction at once. It ends with this process at the latest. */
export async function startAnvil(chainId: number): Promise<Anvil> {
  const options = ['--host', '127.0.0.1', '--port', '0', '--chain-id', `${chainId}`, '--accounts', '1'];
  // The package's own command forks the binary and would outlive a kill: we start the binary itself.
  // In a session of its own, a Ctrl-C reaches us alone and we end it last.
  const child = spawn(binary(), options, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  const end = () => void child.kill('SIGKILL');
  process.once('exit', end);
  const stop = async () => {
    process.off('exit', end);
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    end();
    await exited;
  };
  try {
    return { url: `http://${await listening(child)}`, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The binary that npm chose for this platform. It is an optional part of `@foundry-rs/anvil`, found from there. */
function binary(): string {
  const os = process.platform === 'win32' ? 'win32' : process.platform;
  const name = `@foundry-rs/anvil-${os}-${process.arch === 'x64' ? 'amd64' : process.arch}`;
  try {
    const wrapper = createRequire(import.meta.url).resolve('@foundry-rs/anvil/package.json');
    const manifest = createRequire(wrapper).resolve(`${name}/package.json`);
    return join(dirname(manifest), 'bin', process.platform === 'win32' ? 'anvil.exe' : 'anvil');
  } catch (cause) {
    throw new Error(`no local chain here: \`npm install @foundry-rs/anvil\` brings it (${name})`, { cause });
  }
}

/** Where it listens, once it does: anvil says so on its standard output, which must be read to its end ever after. */
async function listening(child: Child): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  let said = '';
  const hear = (text: string) => {
    said += text;
    const address = /^Listening on (\S+)$/m.exec(said)?.[1];
    if (address !== undefined) resolve(address);
  };
  child.stdout.setEncoding('utf8').on('data', hear);
  child.stderr.setEncoding('utf8').on('data', hear);
  child.once('error', reject);
  child.once('exit', () => reject(new Error(`anvil ended before it listened: ${said}`)));
  const timer = setTimeout(() => reject(new Error(`anvil is not listening: ${said}`)), START_LIMIT_MS);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    child.stdout.off('data', hear).resume();
    child.stderr.off('data', hear).resume();
  }
}
