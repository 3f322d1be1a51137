/** What a call costs: price versions, the worst case before it and the exact cost after it. Each is rounded once, up. */
import type { Sql } from '../db/connect.ts';
import type { Nanousd } from './money.ts';

/** Nano-USD per million input, cached input and output tokens, and per millisecond. */
export interface PriceFields {
  readonly input: Nanousd;
  readonly cachedInput: Nanousd;
  readonly output: Nanousd;
  readonly perMs: Nanousd;
}

/** One version of a model's price. A version never changes; the next one follows it. */
export interface Price extends PriceFields {
  readonly version: number;
  readonly model: string;
}

/** The most that a call can use; `completionTokensMax` counts all its sequences together. */
export interface Bounds {
  readonly promptTokensMax: number;
  readonly completionTokensMax: number;
  readonly durationMsMax: number;
}

/** What a call used. */
export interface Usage {
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly completionTokens: number;
  readonly billedMs: number;
}

const MILLION = 1_000_000n;
const PRICES_CHANNEL = 'faregate_prices';
const RELOAD_MS = 10_000;
/** The most tokens that any answer can have: what the token columns hold. */
const MOST_TOKENS = 2_147_483_647n;

/** The worst case of a call: nothing cached, every token and millisecond used. */
export function quote(price: Price, bounds: Bounds): Nanousd {
  return roundUp(
    BigInt(bounds.promptTokensMax) * price.input +
      BigInt(bounds.completionTokensMax) * price.output +
      BigInt(bounds.durationMsMax) * price.perMs * MILLION,
  );
}

/** The exact cost of what was used. Cached tokens are part of the prompt's, so at most all of them count as cached. */
export function cost(price: Price, usage: Usage): Nanousd {
  const prompt = BigInt(usage.promptTokens);
  const cached = BigInt(usage.cachedTokens) < prompt ? BigInt(usage.cachedTokens) : prompt;
  return roundUp(
    (prompt - cached) * price.input +
      cached * price.cachedInput +
      BigInt(usage.completionTokens) * price.output +
      BigInt(usage.billedMs) * price.perMs * MILLION,
  );
}

/** The operator's part of a charge, rounded down: what is left is revenue, so the parts always add up to the charge. */
export function operatorShare(charged: Nanousd, sharePpm: number): Nanousd {
  return (charged * BigInt(sharePpm)) / MILLION;
}

/** The most completion tokens per sequence whose quote is within `available`; 0 when not even one is. */
export function affordableCompletionTokens(
  price: Price,
  call: { promptTokensMax: number; durationMsMax: number; available: Nanousd; sequences: number },
): number {
  const fixed = BigInt(call.promptTokensMax) * price.input + BigInt(call.durationMsMax) * price.perMs * MILLION;
  const left = call.available * MILLION - fixed;
  if (left < 0n) return 0;
  const each = price.output * BigInt(call.sequences);
  const tokens = each === 0n ? MOST_TOKENS : left / each;
  return toCount(tokens < MOST_TOKENS ? tokens : MOST_TOKENS);
}

/** The prices in force, in memory, kept current by the database's notifications. */
export class PriceList {
  #prices: ReadonlyMap<string, Price> = new Map();
  #stop: () => Promise<void> = async () => {};

  /** Reads all prices and follows their changes until `close`. */
  static async open(sql: Sql): Promise<PriceList> {
    const list = new PriceList();
    await list.load(sql);
    // Without the database the last known prices stay in force: what they allow is bounded by leases.
    const reload = () => void list.load(sql).catch(() => {});
    const subscription = await sql.listen(PRICES_CHANNEL, reload, reload);
    // A notification can be lost together with its connection.
    const timer = setInterval(reload, RELOAD_MS);
    timer.unref();
    list.#stop = async () => {
      clearInterval(timer);
      await subscription.unlisten();
    };
    return list;
  }

  async close(): Promise<void> {
    await this.#stop();
  }

  /** The price in force of a model; undefined for a model that the host does not sell. */
  get(model: string): Price | undefined {
    return this.#prices.get(model);
  }

  /** Every price in force, by model name. */
  all(): Price[] {
    return [...this.#prices.values()];
  }

  /** Reads all prices in force. */
  async load(sql: Sql): Promise<void> {
    const rows = await sql<Price[]>`
      select v.version, m.id as model, v.input, v.cached_input as "cachedInput", v.output, v.per_ms as "perMs"
      from model m join price_version v on v.version = m.price_version
      order by m.id`;
    this.#prices = new Map(rows.map((row) => [row.model, row]));
  }

  /** Puts the next price version of a model in force, here at once and in every gateway by notification. */
  async set(sql: Sql, model: string, fields: PriceFields): Promise<Price> {
    const [row] = await sql<{ version: number }[]>`
      with fresh as (
        insert into price_version (model, input, cached_input, output, per_ms)
        values (${model}, ${fields.input}, ${fields.cachedInput}, ${fields.output}, ${fields.perMs})
        returning version
      ), named as (
        insert into model (id, price_version) select ${model}, version from fresh
        on conflict (id) do update set price_version = excluded.price_version
      )
      select version, pg_notify(${PRICES_CHANNEL}, '') from fresh`;
    if (row === undefined) throw new Error('the price was not stored');
    const price: Price = { version: row.version, model, ...fields };
    this.#prices = new Map([...this.#prices, [model, price]]);
    return price;
  }
}

function roundUp(nanousdTimesMillion: bigint): Nanousd {
  return (nanousdTimesMillion + MILLION - 1n) / MILLION;
}

/** A count of tokens is no money: as an ordinary number it is exact. */
function toCount(tokens: bigint): number {
  return parseInt(tokens.toString(), 10);
}
