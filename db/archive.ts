/**
 * Old months of calls: each is written to a file, and only when the file is safe and says what the database says is its partition
 * dropped. What the checks need of it stays as sums. An empty partition that takes nothing stands in its place: a call of that month
 * that is found later must not be taken for a new one.
 */
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, open, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createGzip } from 'node:zlib';
import type { Sql } from './connect.ts';
import { ARCHIVED_CHECK, type Month, monthOf } from './months.ts';

/** Separates this lock from others in the same database. */
const ARCHIVE_LOCK = 7_310_003;
const ROWS_AT_ONCE = 1_000;

/** Archives the months before one. Answers their names; none while another gateway is at it. */
export async function archiveMonths(
  sql: Sql,
  { before, directory }: { before: Month; directory: string },
): Promise<string[]> {
  const connection = await sql.reserve();
  try {
    // Months of calls are read and written for longer than a call may take.
    await connection`set statement_timeout = 0`;
    const [row] = await connection<{ locked: boolean }[]>`select pg_try_advisory_lock(${ARCHIVE_LOCK}) as locked`;
    if (row?.locked !== true) return [];
    const due = await monthsBefore(connection, before);
    for (const month of due) await archiveMonth(connection, month, directory);
    return due.map(({ name }) => name);
  } finally {
    await connection`select pg_advisory_unlock(${ARCHIVE_LOCK})`.catch(() => {});
    await connection`reset statement_timeout`.catch(() => {});
    connection.release();
  }
}

/** Calls that were settled up to this moment (ISO 8601) may be archived; null while none is. */
export async function archivedUntil(sql: Sql): Promise<string | null> {
  const [row] = await sql<{ until: Date | string | null }[]>`select max(settled_until) as until from archived_month`;
  const until = row?.until ?? null;
  return until === null ? null : new Date(until).toISOString();
}

async function monthsBefore(sql: Sql, before: Month): Promise<Month[]> {
  const rows = await sql<{ name: string }[]>`
    select replace(substr(c.relname, 6), '_', '-') as name
    from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'call'::regclass and c.relname ~ '^call_[0-9]{4}_[0-9]{2}$' and c.relname < ${before.partition}
      and not exists (select from archived_month m where 'call_' || replace(m.month, '-', '_') = c.relname)
    order by 1`;
  return rows.map(({ name }) => monthOf(new Date(`${name}-01T00:00:00Z`)));
}

async function archiveMonth(sql: Sql, month: Month, directory: string): Promise<void> {
  await mkdir(directory, { recursive: true });
  const file = join(directory, `calls-${month.name}.ndjson.gz`);
  const { rows, sha256 } = await writeMonth(sql, month, `${file}.part`);
  await makeLast(`${file}.part`, file, directory);
  if ((await hashOf(file)) !== sha256) throw new Error(`${file} does not hold what was written to it`);
  await dropMonth(sql, month, { rows, sha256 });
}

/** One line of JSON for each call, in the order of their ids; money as decimal strings. */
async function writeMonth(sql: Sql, { partition }: Month, file: string): Promise<{ rows: number; sha256: string }> {
  const hash = createHash('sha256');
  let rows = 0;
  const lines = sql<{ line: string }[]>`
    select (to_jsonb(c) || jsonb_build_object('held_nanousd', held_nanousd::text, 'charged_nanousd', charged_nanousd::text,
      'operator_nanousd', operator_nanousd::text))::text as line
    from ${sql(partition)} c order by id`.cursor(ROWS_AT_ONCE);
  const text = async function* () {
    for await (const some of lines) {
      rows += some.length;
      const piece = some.map(({ line }) => `${line}\n`).join('');
      hash.update(piece);
      yield piece;
    }
  };
  await pipeline(Readable.from(text()), createGzip(), createWriteStream(file, { mode: 0o600 }));
  return { rows, sha256: hash.digest('hex') };
}

/** Gives a file its name when its bytes, and then the name, survive the loss of the machine. */
async function makeLast(part: string, file: string, directory: string): Promise<void> {
  const handle = await open(part, 'r');
  await handle.sync();
  await handle.close();
  await rename(part, file);
  const names = await open(directory, 'r');
  await names.sync();
  await names.close();
}

async function hashOf(file: string): Promise<string> {
  const hash = createHash('sha256');
  const sink = new Transform({ transform: (chunk, _encoding, done) => done(void hash.update(chunk)) });
  await pipeline(createReadStream(file), createGunzip(), sink);
  return hash.digest('hex');
}

/** All or nothing; refuses when a call came into the month after it was written. */
async function dropMonth(sql: Sql, month: Month, written: { rows: number; sha256: string }): Promise<void> {
  const { name, partition, lowest, beyond } = month;
  await sql`begin`;
  try {
    await sql.unsafe(`lock table ${partition} in share row exclusive mode`);
    const [now] = await sql<{ rows: number }[]>`select count(*)::int as rows from ${sql(partition)}`;
    if (now?.rows !== written.rows) throw new Error(`calls came into ${name} while it was archived`);
    await sql`
      insert into archived_month (month, ids_before, calls, settled_until, sha256)
      select ${name}, ${beyond}, count(*), max(settled_at), ${written.sha256} from ${sql(partition)}`;
    await sql`
      insert into archived_sum (month, account_id, nanousd)
      select ${name}, account_id, sum(nanousd) from (
        select lease_id as account_id, charged_nanousd as nanousd from ${sql(partition)}
        union all
        select operator_id, operator_nanousd from ${sql(partition)} where operator_id is not null
      ) side group by account_id`;
    await sql.unsafe(`alter table call detach partition ${partition}`);
    await sql.unsafe(`drop table ${partition}`);
    await sql.unsafe(`create table ${partition} partition of call for values from ('${lowest}') to ('${beyond}')`);
    await sql.unsafe(`alter table ${partition} add constraint ${ARCHIVED_CHECK} check (false)`);
    await sql`commit`;
  } catch (error) {
    await sql`rollback`.catch(() => {});
    throw error;
  }
}
