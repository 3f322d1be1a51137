import { fileURLToPath } from 'node:url';
import { migrate as runMigrations } from 'drizzle-orm/postgres-js/migrator';
import { connect } from './connect.ts';
import { cutPartitions } from './partitions.ts';

const MIGRATION_LOCK = 7_310_001;

/** Brings the schema up to date; gateways that start together wait for each other. */
export async function migrate(url: string): Promise<void> {
  const database = connect(url, { max: 1 });
  try {
    await database.sql`set statement_timeout = 0`;
    await database.sql`select pg_advisory_lock(${MIGRATION_LOCK})`;
    await runMigrations(database.orm, { migrationsFolder: migrationsFolder() });
    await cutPartitions(database.sql, new Date());
  } finally {
    await database.close();
  }
}

/** Beside this file in a checkout; beside `dist/` in the package. */
function migrationsFolder(): string {
  const here = import.meta.url;
  return fileURLToPath(new URL(here.endsWith('.ts') ? './migrations' : '../../db/migrations', here));
}
