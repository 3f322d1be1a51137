/** What an account used, summed by the settle statement minute by minute. */
import type { Sql } from '../db/connect.ts';
import { isoTime } from '../db/time.ts';
import type { Nanousd } from './money.ts';

export const usageSteps = { minute: 60, hour: 3_600, day: 86_400 } as const;
export type UsageStep = keyof typeof usageSteps;

/** What was settled of one model from `start` on, for one step of UTC. */
export interface UsageSum {
  readonly start: string;
  readonly model: string;
  readonly calls: bigint;
  readonly promptTokens: bigint;
  readonly cachedTokens: bigint;
  readonly completionTokens: bigint;
  readonly billedMs: bigint;
  readonly chargedNanousd: Nanousd;
}

/** The steps in which anything was settled, the oldest first; `from` is included, `to` is not (ISO 8601). */
export function usageOf(
  sql: Sql,
  { accountId, from, to, step }: { accountId: string; from: string; to: string; step: UsageStep },
): Promise<readonly UsageSum[]> {
  return sql<UsageSum[]>`
    select ${isoTime(sql, sql`start`)} as start, model, sum(calls)::bigint as calls, sum(prompt_tokens)::bigint as "promptTokens",
      sum(cached_tokens)::bigint as "cachedTokens", sum(completion_tokens)::bigint as "completionTokens",
      sum(billed_ms)::bigint as "billedMs", sum(charged_nanousd)::bigint as "chargedNanousd"
    from usage_minute, date_trunc(${step}, minute, 'UTC') as start
    where account_id = ${accountId} and minute >= ${from}::timestamptz and minute < ${to}::timestamptz
    group by start, model order by start, model`;
}
