/** Vitest global set-up: one real Postgres for the run, with a migrated template that each test file clones. */
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { connect } from './connect.ts';
import { startEmbedded } from './embedded.ts';
import { migrate } from './migrate.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    postgresUrl: string;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const dataDir = await mkdtemp(join(tmpdir(), 'faregate-test-'));
  await chmod(dataDir, 0o755);
  // Tests kill processes, never the machine: fsync would only slow them down.
  const server = await startEmbedded(dataDir, ['fsync=off']);
  const database = connect(server.url, { max: 1 });
  await database.sql`create database template`;
  await database.close();
  await migrate(databaseUrl(server.url, 'template'));
  project.provide('postgresUrl', server.url);
  return async () => {
    await server.stop();
    await rm(dataDir, { recursive: true, force: true });
  };
}

function databaseUrl(url: string, name: string): string {
  return Object.assign(new URL(url), { pathname: `/${name}` }).href;
}
