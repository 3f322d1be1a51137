import type { Sql } from './connect.ts';

type Fragment = ReturnType<Sql>;

/** A `timestamptz` as UTC in ISO 8601 with milliseconds. Such texts sort as their times do. */
export function isoTime(sql: Sql, moment: Fragment): Fragment {
  return sql`to_char(${moment} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;
}
