import { randomBytes } from 'node:crypto';
import { inject } from 'vitest';
import { violations } from './checks.ts';
import { connect, type Database } from './connect.ts';

export interface TestDatabase extends Database {
  readonly url: string;
  /** Throws unless the books balance, then drops the database. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** A fresh, migrated database of its own on the run's real Postgres; on disposal its books must balance. */
export async function testDatabase(options: { max: number } = { max: 10 }): Promise<TestDatabase> {
  const server = inject('postgresUrl');
  const name = `test_${randomBytes(6).toString('hex')}`;
  await onServer(server, `create database ${name} template template`);
  const url = Object.assign(new URL(server), { pathname: `/${name}` }).href;
  const database = connect(url, options);
  return {
    ...database,
    url,
    [Symbol.asyncDispose]: async () => {
      const found = await violations(database.sql);
      await database.close();
      await onServer(server, `drop database ${name} with (force)`);
      if (found.length > 0) throw new Error(`the books do not balance: ${JSON.stringify(found)}`);
    },
  };
}

async function onServer(url: string, statement: string): Promise<void> {
  const server = connect(url, { max: 1 });
  await server.sql.unsafe(statement);
  await server.close();
}
