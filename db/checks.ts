import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Sql } from './connect.ts';

export interface Violation {
  readonly check: string;
  readonly subject: string;
  readonly detail: string;
}

/** Runs every query of checks.sql; an empty list means that the books balance. */
export async function violations(sql: Sql): Promise<Violation[]> {
  const found: Violation[] = [];
  for (const { name, query } of readChecks()) {
    const rows = await sql.unsafe<{ subject: string; detail: string }[]>(query);
    found.push(...rows.map((row) => ({ check: name, ...row })));
  }
  return found;
}

function readChecks(): { name: string; query: string }[] {
  const here = import.meta.url;
  const file = fileURLToPath(new URL(here.endsWith('.ts') ? './checks.sql' : '../../db/checks.sql', here));
  return readFileSync(file, 'utf8')
    .split(/^-- check: /m)
    .slice(1)
    .map((part) => {
      const end = part.indexOf('\n');
      return { name: part.slice(0, end), query: part.slice(end + 1) };
    });
}
