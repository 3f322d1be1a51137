/**
 * Claims what calls were charged of channels, many of them in one transaction, and has it paid to the receiver. What is under way is in
 * Postgres: any gateway goes on with it. Whoever asks for its money back on the chain is claimed from at once.
 */
import { v7 as uuidv7 } from 'uuid';
import type { PrivateKeyAccount } from 'viem/accounts';
import type { Sql } from '../../db/connect.ts';
import type { Hex } from '../methods/authorization.ts';
import type { Evm } from '../methods/evm.ts';
import { NotSent, type Sender } from '../methods/sender.ts';
import { least, type Nanousd } from '../money.ts';
import { inTransaction } from '../retry.ts';
import { every } from '../rounds.ts';
import { nanousdOf, unitsFor } from '../units.ts';
import { type Claim, claimCall, readChannels, refusalOf } from './contract.ts';
import { type ChannelRow, columns, syncChannel } from './rows.ts';
import type { ChannelDigests } from './typed-data.ts';
import type { ChannelsLog } from './view.ts';

export interface ClaimsOptions {
  readonly sql: Sql;
  readonly evm: Evm;
  readonly sender: Sender;
  readonly digests: ChannelDigests;
  readonly log: ChannelsLog;
  readonly authorizer: PrivateKeyAccount;
  /** Addresses in lower case. */
  readonly receiver: Hex;
  readonly token: Hex;
  /** Less waits for more, a day at most. */
  readonly minimum: Nanousd;
}

interface Owing extends ChannelRow {
  /** What its calls were charged, in all, as far as it is settled. */
  readonly owed: Nanousd;
  /** Whether some of it waits for a day. */
  readonly old: boolean;
}

const ROUND_EVERY_MS = 15_000;
/** How old the chain's word may be on whether a withdrawal was asked for. */
const WATCHED_MS = 30_000n;
const CHANNELS_PER_CLAIM = 25;
const CHANNELS_PER_ROUND = 500;
const CLAIM_GAS = 200_000n;
const CHANNEL_GAS = 90_000n;

export class Claims {
  readonly #options: ClaimsOptions;

  constructor(options: ClaimsOptions) {
    this.#options = options;
  }

  /** Makes a round every few seconds, until the returned function is called. */
  watch(): () => void {
    const failed = (error: unknown) => this.#options.log.warn({ err: error }, 'channels could not be claimed');
    return every(ROUND_EVERY_MS, () => this.round(), failed);
  }

  /** Notes what was claimed, looks who wants its money back, claims what is due. `watchedMs`: as of when the chain is believed. */
  async round(watchedMs: bigint = WATCHED_MS): Promise<void> {
    await this.#conclude();
    const owing = await this.#look(await this.#owing(), watchedMs);
    const due = owing.filter(
      ({ owed, old, claimed, withdrawRequestedAt }) =>
        old || withdrawRequestedAt !== 0n || owed - nanousdOf(claimed) >= this.#options.minimum,
    );
    for (let from = 0; from < due.length; from += CHANNELS_PER_CLAIM) {
      await this.#claim(due.slice(from, from + CHANNELS_PER_CLAIM));
    }
  }

  /** What became of transactions whose nonce is used: the chain says up to where it was claimed. */
  async #conclude(): Promise<void> {
    const { sql, evm, log } = this.#options;
    const mined = await sql<{ id: Hex; claiming: bigint }[]>`
      select c.id, c.claiming_units as claiming from channel c
      join chain_transaction t on t.purpose = 'claim:' || c.claim_id::text and t.state = 'mined'
      where c.claim_id is not null and c.network = ${evm.network.id} limit ${CHANNELS_PER_ROUND}`;
    if (mined.length === 0) return;
    const states = await readChannels(
      evm,
      mined.map(({ id }) => id),
    );
    for (const [at, { id, claiming }] of mined.entries()) {
      const state = states[at];
      if (state === undefined) continue;
      await sql`
        update channel set claim_id = null, claiming_units = null, claimed_at = now(),
          claimed_units = greatest(claimed_units, ${state.claimed})
        where id = ${id}`;
      if (state.claimed < claiming) log.warn({ channel: id }, 'a claim did nothing on the chain: it is made again');
    }
  }

  /** Channels whose calls were charged more than was claimed: the rest of their credit is still in their accounts. */
  #owing(): Promise<Owing[]> {
    const { sql, evm } = this.#options;
    const owed = sql`c.credited_nanousd - (select coalesce(sum(a.balance), 0) from account a where a.owner = c.account_id)::bigint`;
    return sql<Owing[]>`
      select ${columns(sql)}, ${owed} as owed, c.claimed_at < now() - interval '1 day' as old
      from channel c where c.claim_id is null and c.signature is not null and c.network = ${evm.network.id}
        and ${owed} > c.claimed_units * ${nanousdOf(1n)}::bigint
      order by c.claimed_at limit ${CHANNELS_PER_ROUND}`;
  }

  /** The same as the chain has them now. */
  async #look(owing: Owing[], watchedMs: bigint): Promise<Owing[]> {
    const { sql, evm } = this.#options;
    const stale = owing.filter(({ syncedMs }) => syncedMs >= watchedMs);
    if (stale.length === 0) return owing;
    const states = await readChannels(
      evm,
      stale.map(({ id }) => id),
      { deep: true },
    );
    const now = new Map(stale.map(({ id }, at) => [id, states[at]]));
    for (const [id, state] of now) if (state !== undefined) await syncChannel(sql, id, state);
    return owing.map((row) => ({ ...row, ...now.get(row.id) }));
  }

  async #claim(due: readonly Owing[]): Promise<void> {
    const { sql, evm, sender, log, receiver, token } = this.#options;
    await sender.register();
    const claims = due.map(claimOf).filter((claim) => claim !== null);
    if (claims.length === 0) return;
    const call = claimCall(claims, await this.#authorize(claims), receiver, token);
    const refusal = await refusalOf(evm, call);
    if (refusal !== null) {
      log.warn({ refusal, channels: claims.length }, 'a claim would fail');
      // One that cannot be claimed keeps no other from it.
      if (due.length > 1) for (const row of due) await this.#claim([row]);
      return;
    }
    const id = uuidv7();
    const gas = CLAIM_GAS + CHANNEL_GAS * BigInt(claims.length);
    await inTransaction(sql, async (tx) => {
      for (const { id: channelId, total } of claims) {
        await tx`update channel set claim_id = ${id}, claiming_units = ${total} where id = ${channelId}`;
      }
      await sender.enqueue(tx, { purpose: `claim:${id}`, ...call, gas });
    }).catch((error: unknown) => {
      if (!(error instanceof NotSent)) throw error;
    });
  }

  #authorize(claims: readonly (Claim & { id: Hex })[]): Promise<Hex> {
    const { digests, authorizer } = this.#options;
    const entries = claims.map(({ id: channelId, ceiling, total }) => ({ channelId, ceiling, total }));
    return authorizer.sign({ hash: digests.claims(entries) });
  }
}

/** What was charged, at most what the voucher says and the channel has; null when that is claimed already. */
function claimOf({ id, config, ceiling, signature, owed, claimed, balance }: Owing): (Claim & { id: Hex }) | null {
  const total = least(least(unitsFor(owed), ceiling), balance);
  return signature === null || total <= claimed ? null : { id, config, ceiling, signature, total };
}
