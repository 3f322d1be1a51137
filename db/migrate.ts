import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { connect, type Sql } from './connect.ts';
import { cutPartitions } from './partitions.ts';

const MIGRATION_LOCK = 7_310_001;

/** Brings the schema up to date; gateways that start together wait for each other. */
export async function migrate(url: string): Promise<void> {
  const { sql, close } = connect(url, { max: 1 });
  try {
    await sql`set statement_timeout = 0`;
    await sql`select pg_advisory_lock(${MIGRATION_LOCK})`;
    if (await isBehind(sql)) await runMigrations(sql);
    await cutPartitions(sql, new Date());
  } finally {
    await close();
  }
}

/** By the rule of drizzle's migrator: what is newer than the newest that was run is to be run. */
async function isBehind(sql: Sql): Promise<boolean> {
  const [table] = await sql<{ there: boolean }[]>`
    select to_regclass('drizzle.__drizzle_migrations') is not null as there`;
  if (table?.there !== true) return true;
  const [run] = await sql<{ newest: bigint | null }[]>`
    select max(created_at)::bigint as newest from drizzle.__drizzle_migrations`;
  const journal = await readFile(join(migrationsFolder(), 'meta', '_journal.json'), 'utf8');
  const { entries } = JSON.parse(journal) as { entries: readonly { when: number }[] };
  return entries.some(({ when }) => BigInt(when) > (run?.newest ?? 0n));
}

/** Drizzle takes longer to load than all the rest of a gateway, and more memory: only where there is work for it. */
async function runMigrations(sql: Sql): Promise<void> {
  const [{ drizzle }, migrator] = await Promise.all([
    import('drizzle-orm/postgres-js'),
    import('drizzle-orm/postgres-js/migrator'),
  ]);
  await migrator.migrate(drizzle(sql), { migrationsFolder: migrationsFolder() });
}

/** Beside this file in a checkout; beside `dist/` in the package. */
function migrationsFolder(): string {
  const here = import.meta.url;
  return fileURLToPath(new URL(here.endsWith('.ts') ? './migrations' : '../../db/migrations', here));
}
