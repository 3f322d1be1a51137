/** The verdict: what clients and the worker saw, against what the ledger says. Every figure must be 0. */
import { violations } from '../../db/checks.ts';
import type { Sql } from '../../db/connect.ts';
import type { Seen } from './callers.ts';
import { PROMPT_TOKENS } from './worker.ts';

/** Nano-USD per token: what the attack's price list says. */
export const PRICE = { prompt: 1n, completion: 2n } as const;

export interface Verdict {
  /** Acknowledged charges that the ledger does not have, or has otherwise. */
  readonly lost: number;
  /** Money that left agents' accounts beyond what their calls say, in nano-USD. */
  readonly doubled: bigint;
  /** Calls charged above what the worker sent for them, as text. */
  readonly overcharged: readonly string[];
  /** Accounts below their floor. */
  readonly negative: number;
  /** Rows that `db/checks.sql` found, each as text; leases that nobody returned too. */
  readonly unbalanced: readonly string[];
}

interface CallRow {
  readonly id: string;
  readonly charged: bigint;
  readonly prompt: number;
  readonly completion: number;
  readonly outcome: string;
}

/** Compares when all gateways are stopped. `deposited` is what all agents were given, ever. */
export async function audit(
  sql: Sql,
  { seen, sent, deposited }: { seen: Seen; sent: ReadonlyMap<string, number>; deposited: bigint },
): Promise<Verdict> {
  const rows = await sql<CallRow[]>`
    select id, charged_nanousd as charged, prompt_tokens as prompt, completion_tokens as completion, outcome from call`;
  const charges = new Map(rows.map(({ id, charged }) => [id, charged]));
  const lost = [...seen.acknowledged].filter(([id, charged]) => charges.get(id) !== charged).length;
  const overcharged = rows
    .filter(({ id, charged }) => charged > dueFor(sent.get(id)))
    .map(({ id, prompt, completion, outcome }) => `${id} ${outcome}: ${prompt} + ${completion}, sent ${sent.get(id)}`);
  const [money] = await sql<{ left: bigint; leased: bigint; negative: number }[]>`
    select coalesce(sum(balance) filter (where kind in ('prepaid', 'escrow')), 0)::bigint as left,
      coalesce(sum(balance) filter (where kind = 'escrow'), 0)::bigint as leased,
      (count(*) filter (where balance < floor))::int as negative
    from account`;
  const { left = 0n, leased = 0n, negative = 0 } = money ?? {};
  const charged = rows.reduce((sum, row) => sum + row.charged, 0n);
  const unbalanced = (await violations(sql)).map((row) => `${row.check}: ${row.subject} ${row.detail}`);
  if (leased !== 0n) unbalanced.push(`${leased} nano-USD are still leased after all gateways stopped`);
  return { lost, doubled: deposited - left - charged, overcharged, negative, unbalanced };
}

/** A call whose caller left before the worker spoke owes its prompt. */
function dueFor(tokens = 0): bigint {
  return BigInt(PROMPT_TOKENS) * PRICE.prompt + BigInt(tokens) * PRICE.completion;
}

export function isClean(verdict: Verdict): boolean {
  const { lost, doubled, overcharged, negative, unbalanced } = verdict;
  return lost === 0 && doubled === 0n && overcharged.length === 0 && negative === 0 && unbalanced.length === 0;
}
