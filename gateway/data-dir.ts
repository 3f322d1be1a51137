/** What a gateway keeps beside its database: the admin key, and where it runs, for `faregate admin` to find it. */
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { mintKey } from './keys.ts';

export interface Whereabouts {
  readonly url: string;
  readonly pid: number;
}

/** The admin key of this data directory, made at the first start; only its owner can read the file. */
export async function loadAdminKey(dataDir: string): Promise<string> {
  const known = await readAdminKey(dataDir);
  if (known !== null) return known;
  const key = mintKey('adm', randomBytes);
  await mkdir(dataDir, { recursive: true });
  await writeFile(adminKeyFile(dataDir), `${key}\n`, { mode: 0o600, flag: 'wx' });
  return key;
}

/** Null where no gateway has made one yet. */
export async function readAdminKey(dataDir: string): Promise<string | null> {
  const text = await readFile(adminKeyFile(dataDir), 'utf8').catch(() => null);
  return text === null ? null : text.trim();
}

function adminKeyFile(dataDir: string): string {
  return join(dataDir, 'admin-key');
}

export async function writeWhereabouts(dataDir: string, whereabouts: Whereabouts): Promise<void> {
  await mkdir(dataDir, { recursive: true });
  await writeFile(join(dataDir, 'gateway.json'), `${JSON.stringify(whereabouts)}\n`);
}

export async function readWhereabouts(dataDir: string): Promise<Whereabouts | null> {
  const text = await readFile(join(dataDir, 'gateway.json'), 'utf8').catch(() => null);
  return text === null ? null : (JSON.parse(text) as Whereabouts);
}

export async function removeWhereabouts(dataDir: string): Promise<void> {
  await rm(join(dataDir, 'gateway.json'), { force: true });
}
