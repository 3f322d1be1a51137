/**
 * Transactions that this side pays the gas of. Their nonces are given out by Postgres, so any number of gateways can share the keys, and
 * their bytes are stored before a node sees them: after a crash, or when a node loses one, the very same is sent again. One that
 * stays unmined is replaced at a higher price under the same nonce.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { v7 as uuidv7 } from 'uuid';
import { keccak256, type LocalAccount } from 'viem';
import type { Sql } from '../../db/connect.ts';
import { inTransaction } from '../retry.ts';
import { every } from '../rounds.ts';
import { Turns } from '../turns.ts';
import { type Hex, walletId } from './authorization.ts';
import type { Evm } from './evm.ts';
import { busySigners, noteMined, type Outgoing, pendingOf, type SentRow as Row, storedFor } from './sender-rows.ts';
import { signerOf } from './signer.ts';

export interface SenderOptions {
  readonly sql: Sql;
  readonly evm: Evm;
  readonly keys: readonly Hex[];
  readonly log: SenderLog;
}

export interface SenderLog {
  debug(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface Sent {
  readonly state: 'pending' | 'mined';
  /** Null before it is signed; another one after it was replaced. */
  readonly hash: Hex | null;
}

/** Nothing was stored and nothing was sent: no key has room, or the chain does not answer. */
export class NotSent extends Error {
  override readonly name = 'NotSent';
}

interface Fees {
  readonly maxFeePerGas: bigint;
  readonly priorityFeePerGas: bigint;
}

/** Nodes keep only so many transactions of one key waiting. */
const PENDING_PER_KEY = 16;
/** Each holds a connection to the database for several questions: those whose money has arrived need some too. */
const STORED_AT_ONCE = 4;
const QUEUE_MS = 10_000;
const QUEUE_PAUSE_MS = 50;
const FEES_FOR_MS = 2_000;
const TEND_EVERY_MS = 1_000;
const REPEAT_AFTER_MS = 3_000n;
const REPLACE_AFTER_MS = 20_000n;

export class Sender {
  readonly #options: SenderOptions;
  readonly #accounts: ReadonlyMap<string, LocalAccount>;
  #fees: { readonly atMs: number; readonly value: Promise<Fees> } | null = null;
  readonly #turns = new Turns(STORED_AT_ONCE);
  #registered: Promise<void> | null = null;

  constructor(options: SenderOptions) {
    this.#options = options;
    const accounts = options.keys.map((key) => signerOf(key));
    this.#accounts = new Map(accounts.map((account) => [walletId(options.evm.network.id, account.address), account]));
  }

  /** Stores and sends a transaction, and answers its hash. Throws `NotSent`; whatever else happens, it will be sent. */
  async send(outgoing: Outgoing): Promise<Hex> {
    const fees = await this.#prepare().catch((error: unknown) => {
      throw new NotSent('the chain does not answer', { cause: error });
    });
    const row = await this.#enqueueInTurn(outgoing);
    if (row.hash !== null) return row.hash;
    return this.#signAndBroadcast(await this.#rowOf(outgoing.purpose), fees);
  }

  /**
   * Stores a transaction together with whatever else `tx` does; tending sends it. The same purpose again changes nothing. It gets its key
   * and nonce here, so that no nonce is given out that no row has. Throws `NotSent` when every key has enough waiting.
   */
  async enqueue(tx: Sql, outgoing: Outgoing): Promise<Sent> {
    const { purpose, to, data, gas, from } = outgoing;
    const signerId = from === undefined ? null : walletId(this.#options.evm.network.id, from);
    // Two who send the same wait for each other here.
    await tx`select pg_advisory_xact_lock(hashtextextended(${purpose}, 0))`;
    const known = await this.find(tx, purpose);
    if (known !== null) return known;
    const [given] = await tx<{ id: string; nonce: bigint }[]>`
      update signer set next_nonce = next_nonce + 1 where id = (
        select id from (
          select id, (select count(*) from chain_transaction t where t.signer_id = s.id and t.state = 'pending') as waiting
          from signer s where id in (select jsonb_array_elements_text(${this.#ours}::text::jsonb))
            and (${signerId}::text is null or id = ${signerId})
        ) keys where waiting < ${PENDING_PER_KEY} order by waiting, random() limit 1
      ) returning id, next_nonce - 1 as nonce`;
    if (given === undefined) throw new NotSent('every key has all the transactions waiting that a node keeps');
    await tx`
      insert into chain_transaction (id, purpose, signer_id, nonce, "to", data, gas)
      values (${uuidv7()}, ${purpose}, ${given.id}, ${given.nonce}, ${to}, ${data}, ${gas})`;
    return { state: 'pending', hash: null };
  }

  /** What became of a transaction. `mined` says that its nonce is used: whether it did what it should, its contract knows. */
  async find(sql: Sql, purpose: string): Promise<Sent | null> {
    const [row] = await sql<Sent[]>`select state, hash from chain_transaction where purpose = ${purpose}`;
    return row ?? null;
  }

  /** Makes the keys known to the database: from then on `enqueue` needs no chain. Throws when the chain does not answer. */
  async register(): Promise<void> {
    this.#registered ??= this.#register().catch((error) => {
      this.#registered = null;
      throw error;
    });
    return this.#registered;
  }

  /** Sends again what may have been lost, and replaces what is stuck, until the returned function is called. */
  tend(): () => void {
    const failed = (error: unknown) => this.#options.log.warn({ err: error }, 'transactions could not be tended');
    return every(TEND_EVERY_MS, () => this.tendOnce(), failed);
  }

  async tendOnce(): Promise<void> {
    const { sql, evm } = this.#options;
    for (const signerId of await busySigners(sql, this.#ours)) {
      const account = this.#accounts.get(signerId);
      if (account === undefined) continue;
      await noteMined(sql, signerId, BigInt(await evm.client.getTransactionCount({ address: account.address })));
      for (const row of await pendingOf(sql, signerId)) await this.#tendRow(row);
    }
  }

  async #tendRow(row: Row): Promise<void> {
    if (row.raw === null || row.hash === null) await this.#signAndBroadcast(row, await this.#currentFees());
    else if (row.idleMs >= REPLACE_AFTER_MS) await this.#replace(row);
    else if (row.idleMs >= REPEAT_AFTER_MS) await this.#broadcast(row.raw, row.hash);
  }

  /** Waits a while for room where every key has enough waiting. */
  async #enqueueInTurn(outgoing: Outgoing): Promise<Sent> {
    const endMs = performance.now() + QUEUE_MS;
    for (;;) {
      try {
        return await this.#turns.take(() => inTransaction(this.#options.sql, (tx) => this.enqueue(tx, outgoing)));
      } catch (error) {
        if (!(error instanceof NotSent) || performance.now() > endMs) throw error;
        await sleep(QUEUE_PAUSE_MS);
      }
    }
  }

  async #prepare(): Promise<Fees> {
    await this.register();
    return this.#currentFees();
  }

  async #register(): Promise<void> {
    const { sql, evm } = this.#options;
    await evm.check();
    for (const [id, { address }] of this.#accounts) {
      const mined = await evm.client.getTransactionCount({ address });
      // A key that sent something elsewhere is further than we know.
      await sql`
        insert into signer (id, next_nonce) values (${id}, ${BigInt(mined)})
        on conflict (id) do update set next_nonce = greatest(signer.next_nonce, excluded.next_nonce)`;
    }
  }

  #currentFees(): Promise<Fees> {
    const atMs = performance.now();
    if (this.#fees === null || atMs - this.#fees.atMs > FEES_FOR_MS) {
      const value = this.#options.evm.client
        .estimateFeesPerGas()
        .then(({ maxFeePerGas, maxPriorityFeePerGas }) => ({ maxFeePerGas, priorityFeePerGas: maxPriorityFeePerGas }));
      this.#fees = { atMs, value };
      value.catch(() => {
        this.#fees = null;
      });
    }
    return this.#fees.value;
  }

  /** Whoever signs it first has it. */
  async #signAndBroadcast(row: Row, fees: Fees): Promise<Hex> {
    const raw = await this.#signed(row, fees);
    const [signed] = await this.#options.sql<{ id: string }[]>`
      update chain_transaction set raw = ${raw}, hash = ${keccak256(raw)}, max_fee_per_gas = ${fees.maxFeePerGas},
        priority_fee_per_gas = ${fees.priorityFeePerGas}, sent_at = now()
      where id = ${row.id} and raw is null returning id`;
    const own = signed === undefined ? await this.#rowOf(row.purpose) : { raw, hash: keccak256(raw) };
    if (own.raw === null || own.hash === null) throw new Error(`${row.purpose} is not signed`);
    await this.#broadcast(own.raw, own.hash);
    return own.hash;
  }

  #signed({ signerId, nonce, to, data, gas }: Row, fees: Fees): Promise<Hex> {
    const account = this.#accounts.get(signerId);
    if (account === undefined) throw new Error(`there is no key for ${signerId} here`);
    return account.signTransaction({
      type: 'eip1559',
      chainId: this.#options.evm.network.chain.id,
      // viem wants a number; no key sends 2^53 transactions.
      nonce: parseInt(String(nonce), 10),
      to,
      data,
      gas,
      maxFeePerGas: fees.maxFeePerGas,
      maxPriorityFeePerGas: fees.priorityFeePerGas,
    });
  }

  /** A node's refusal is not the end: it may know the bytes already, or be away. Tending looks again. */
  async #broadcast(raw: Hex, hash: Hex): Promise<void> {
    await this.#options.evm.client
      .sendRawTransaction({ serializedTransaction: raw })
      .catch((error: unknown) => this.#options.log.debug({ err: error, hash }, 'a node did not take a transaction'));
  }

  /** The same under the same nonce, at least an eighth dearer, as nodes demand, and no cheaper than the market. */
  async #replace(row: Row): Promise<void> {
    // What was the price when it was sent tells nothing now.
    this.#fees = null;
    const now = await this.#currentFees();
    const dearer = (old: bigint | null, market: bigint) => {
      const least = old === null ? 0n : old + old / 4n + 1n;
      return market > least ? market : least;
    };
    const fees = {
      maxFeePerGas: dearer(row.maxFeePerGas, now.maxFeePerGas),
      priorityFeePerGas: dearer(row.priorityFeePerGas, now.priorityFeePerGas),
    };
    const raw = await this.#signed(row, fees);
    const hash = keccak256(raw);
    const [replaced] = await this.#options.sql<{ id: string }[]>`
      update chain_transaction set raw = ${raw}, hash = ${hash}, max_fee_per_gas = ${fees.maxFeePerGas},
        priority_fee_per_gas = ${fees.priorityFeePerGas}, replacements = replacements + 1, sent_at = now()
      where id = ${row.id} and replacements = ${row.replacements} returning id`;
    if (replaced === undefined) return;
    this.#options.log.warn({ purpose: row.purpose, hash }, 'a transaction was stuck and is replaced');
    await this.#broadcast(raw, hash);
  }

  async #rowOf(purpose: string): Promise<Row> {
    const row = await storedFor(this.#options.sql, purpose);
    if (row === undefined) throw new Error(`${purpose} is not stored`);
    return row;
  }

  /** JSON of the names of our keys. */
  get #ours(): string {
    return JSON.stringify([...this.#accounts.keys()]);
  }
}
