/** The secrets that every gateway of one database shares; they never leave the gateway. */
import { randomBytes } from 'node:crypto';
import type { Sql } from '../db/connect.ts';

export interface Secrets {
  /** Keys the HMAC under which API keys are stored: a stolen table finds no key. */
  readonly pepper: string;
  /** Keys the HMAC that gives each tenant a prefix cache of its own on every worker. */
  readonly cacheSalt: string;
  /** Keys the HMAC by which the challenges of a 402 and the nonces of sign-ins are known as ours. */
  readonly challenge: string;
}

/** Reads the secrets, made at the first start. Gateways that start together agree: the first insert wins. */
export async function loadSecrets(sql: Sql): Promise<Secrets> {
  return {
    pepper: await loadSecret(sql, 'key_pepper'),
    cacheSalt: await loadSecret(sql, 'cache_salt'),
    challenge: await loadSecret(sql, 'challenge'),
  };
}

async function loadSecret(sql: Sql, name: string): Promise<string> {
  const made = randomBytes(32).toString('hex');
  await sql`insert into secret (name, value) values (${name}, ${made}) on conflict (name) do nothing`;
  const [row] = await sql<{ value: string }[]>`select value from secret where name = ${name}`;
  if (row === undefined) throw new Error(`the secret ${name} vanished from the database`);
  return row.value;
}
