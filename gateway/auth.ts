/** Who is calling. Keys are proved in memory; Postgres is asked once per unknown key and told us what was revoked. */
import { createSecretKey, type KeyObject, timingSafeEqual } from 'node:crypto';
import type { Sql } from '../db/connect.ts';
import { withDeadline } from '../payments/retry.ts';
import type { Limits } from './config.ts';
import { type ApiError, apiError } from './errors.ts';
import { findKey, findOwnKey, KEYS_CHANNEL, revokedWithin, type StoredKey } from './key-store.ts';
import { keyHash, parseKey } from './keys.ts';
import { anyProvider, narrow, type Provider, parseProvider } from './provider.ts';
import type { KeyLimits } from './ratelimit.ts';
import { remember } from './remember.ts';

export type PrincipalKind = 'agent' | 'operator' | 'admin';

/** A proven caller. */
export interface Principal {
  readonly kind: PrincipalKind;
  readonly keyId: string;
  /** `acct_…` of an agent, `op_…` of an operator, `admin`. */
  readonly ownerId: string;
  /** An agent's `fg_test_…` key. */
  readonly test: boolean;
  /** The least of the key's own and of those above it. */
  readonly limits: KeyLimits;
  /** The keys that this one descends from, nearest first: a call counts against all of them. */
  readonly ancestors: readonly { readonly keyId: string; readonly limits: KeyLimits }[];
  /** Those of them, and itself, that have a budget, the nearest first. */
  readonly budgets: readonly string[];
  /** What all of them want of the workers. */
  readonly provider: Provider;
}

export interface KeyringOptions {
  readonly sql: Sql;
  readonly pepper: string;
  readonly adminKey: string;
  /** For keys that have no limits of their own. */
  readonly limits: Pick<Limits, keyof KeyLimits>;
  /** Monotonic milliseconds. */
  now(): number;
}

interface Known {
  readonly principal: Principal;
  readonly readAtMs: number;
  readonly expiresAtMs: number;
}

const KNOWN_MAX = 100_000;
const UNKNOWN_MAX = 10_000;
const UNKNOWN_MS = 5_000;
/** A flood of well-formed wrong keys must not queue up before the ledger's own statements. */
const LOOKUPS_MAX = 64;
const DATABASE_WAIT_MS = 5_000;
const POLL_MS = 2_000;
/** Longer than a poll and the clock of a slow commit, so that polls overlap. */
const POLL_WINDOW_MS = 10_000;
/** Without news of revocations a key is believed for this long: money stays bounded by the leases. */
const BELIEVED_WATCHED_MS = 300_000;
const BELIEVED_ALONE_MS = 10_000;

/** Every key that was shown lately. */
export class Keyring {
  readonly #options: KeyringOptions;
  readonly #pepper: KeyObject;
  readonly #adminHash: Buffer;
  readonly #known = new Map<string, Known>();
  /** The hashes of headers that were right: a known caller's key is looked up, not hashed again. */
  readonly #hashes = new Map<string, string>();
  readonly #unknown = new Map<string, number>();
  readonly #lookups = new Map<string, Promise<Principal | null>>();
  #confirmedAtMs = Number.NEGATIVE_INFINITY;
  #believedMs = BELIEVED_ALONE_MS;

  constructor(options: KeyringOptions) {
    this.#options = options;
    this.#pepper = createSecretKey(Buffer.from(options.pepper));
    this.#adminHash = Buffer.from(this.hash(options.adminKey));
  }

  /** What the database stores of a key. */
  hash(key: string): string {
    return keyHash(this.#pepper, key);
  }

  /**
   * The caller behind an `Authorization` header; a promise only when the database must be asked.
   * Throws `invalid_api_key`, the same for every wrong key, and `forbidden` for a right key of another kind.
   */
  authenticate(header: string = '', kind: PrincipalKind): Principal | Promise<Principal> {
    const proven = this.#principalOf(this.#hashes.get(header));
    if (proven !== null) return permit(proven, kind);
    const key = bearer(header);
    const shape = parseKey(key);
    if (shape === null) throw invalidKey();
    const hash = this.hash(key);
    if (shape.kind === 'adm') return permit(this.#admin(hash), kind);
    const known = this.#principalOf(hash);
    if (known === null) return this.#look(hash).then((principal) => permit(principal, kind));
    remember(this.#hashes, header, hash, KNOWN_MAX);
    return permit(known, kind);
  }

  /** The caller that an account's own oldest key would prove; null where it has none in force. */
  async ownerOf(accountId: string): Promise<Principal | null> {
    const [own, ...above] = await findOwnKey(this.#options.sql, accountId);
    return own === undefined ? null : principalOf(own, above, this.#options.limits);
  }

  /** Hears of revocations, by notification and, should that fail, by a poll. Returns how to stop. */
  async watch(): Promise<() => Promise<void>> {
    const { sql } = this.#options;
    this.#believedMs = BELIEVED_WATCHED_MS;
    const { unlisten } = await sql.listen(
      KEYS_CHANNEL,
      (id) => this.#forget(new Set([id])),
      // What was revoked while nobody listened is not known: ask again for every key.
      () => this.#known.clear(),
    );
    await this.#poll();
    const timer = setInterval(() => void this.#poll(), POLL_MS);
    timer.unref();
    return async () => {
      clearInterval(timer);
      await unlisten();
    };
  }

  /** Who has the key with this hash, as far as that is still to be believed. */
  #principalOf(hash: string | undefined): Principal | null {
    const known = hash === undefined ? undefined : this.#known.get(hash);
    return known !== undefined && this.#believes(known) ? known.principal : null;
  }

  #admin(hash: string): Principal | null {
    if (!timingSafeEqual(Buffer.from(hash), this.#adminHash)) return null;
    return {
      kind: 'admin',
      keyId: 'admin',
      ownerId: 'admin',
      test: false,
      limits: this.#options.limits,
      ancestors: [],
      budgets: [],
      provider: anyProvider,
    };
  }

  #believes(known: Known): boolean {
    const nowMs = this.#options.now();
    return nowMs - Math.max(known.readAtMs, this.#confirmedAtMs) < this.#believedMs && nowMs < known.expiresAtMs;
  }

  /** One question per key at a time, and none for a key that was wrong a moment ago. */
  #look(hash: string): Promise<Principal | null> {
    const wrongUntilMs = this.#unknown.get(hash);
    if (wrongUntilMs !== undefined && this.#options.now() < wrongUntilMs) return Promise.resolve(null);
    let lookup = this.#lookups.get(hash);
    if (lookup === undefined) {
      if (this.#lookups.size >= LOOKUPS_MAX) throw busy();
      lookup = this.#ask(hash).finally(() => this.#lookups.delete(hash));
      this.#lookups.set(hash, lookup);
    }
    return lookup;
  }

  async #ask(hash: string): Promise<Principal | null> {
    const readAtMs = this.#options.now();
    const line = await withDeadline(findKey(this.#options.sql, hash), DATABASE_WAIT_MS).catch(() => {
      throw apiError('ledger_unavailable', 'The database is away and this key is not known here yet: ask again.', {
        retryAfterMs: 1_000,
      });
    });
    const [own] = line;
    if (own === undefined) {
      remember(this.#unknown, hash, readAtMs + UNKNOWN_MS, UNKNOWN_MAX);
      return null;
    }
    const principal = principalOf(own, line.slice(1), this.#options.limits);
    const expiresAtMs = readAtMs + Math.min(...line.map(({ expiresInMs }) => expiresInMs ?? Number.POSITIVE_INFINITY));
    remember(this.#known, hash, { principal, readAtMs, expiresAtMs }, KNOWN_MAX);
    return principal;
  }

  async #poll(): Promise<void> {
    const startedAtMs = this.#options.now();
    try {
      const ids = await withDeadline(revokedWithin(this.#options.sql, POLL_WINDOW_MS), DATABASE_WAIT_MS);
      // After a gap the window does not reach back to the last answer.
      if (startedAtMs - this.#confirmedAtMs > POLL_WINDOW_MS / 2) this.#known.clear();
      else this.#forget(new Set(ids));
      this.#confirmedAtMs = startedAtMs;
    } catch {
      // The database is away: keys are believed until BELIEVED_WATCHED_MS have passed without an answer.
    }
  }

  #forget(ids: ReadonlySet<string>): void {
    if (ids.size === 0) return;
    for (const [hash, { principal }] of this.#known) if (ids.has(principal.keyId)) this.#known.delete(hash);
  }
}

function principalOf(own: StoredKey, above: readonly StoredKey[], defaults: KeyLimits): Principal {
  const ancestors: Principal['ancestors'][number][] = [];
  for (const key of above.toReversed())
    ancestors.unshift({ keyId: key.id, limits: limitsOf(key, ancestors[0], defaults) });
  return {
    kind: own.kind === 'operator' ? 'operator' : 'agent',
    keyId: own.id,
    ownerId: own.ownerId,
    test: own.kind === 'test',
    limits: limitsOf(own, ancestors[0], defaults),
    ancestors,
    budgets: [own, ...above].filter(({ budgeted }) => budgeted).map(({ id }) => id),
    provider: above.reduce((inner, key) => narrow(providerOf(key), inner), providerOf(own)),
  };
}

function providerOf({ provider }: StoredKey): Provider {
  return provider === null ? anyProvider : parseProvider(undefined, JSON.parse(provider));
}

/** The limits in force: a key of the host has its own or the defaults, a key below another one at most those of that one. */
function limitsOf(key: StoredKey, parent: { limits: KeyLimits } | undefined, defaults: KeyLimits): KeyLimits {
  const within = (own: number | null, above: number | undefined, usual: number) =>
    above === undefined ? (own ?? usual) : Math.min(own ?? above, above);
  return {
    requestsPerMinute: within(key.requestsPerMinute, parent?.limits.requestsPerMinute, defaults.requestsPerMinute),
    tokensPerMinute: within(key.tokensPerMinute, parent?.limits.tokensPerMinute, defaults.tokensPerMinute),
    openStreams: within(key.openStreams, parent?.limits.openStreams, defaults.openStreams),
  };
}

function bearer(header: string): string {
  return /^bearer +(\S+)$/i.exec(header)?.[1] ?? '';
}

function permit(principal: Principal | null, kind: PrincipalKind): Principal {
  if (principal === null) throw invalidKey();
  if (principal.kind === kind) return principal;
  throw apiError('forbidden', `This needs the key of an ${kind}, and yours is the key of an ${principal.kind}.`);
}

function invalidKey(): ApiError {
  return apiError('invalid_api_key', 'Send a valid key in the header `Authorization: Bearer fg_…`.', {
    headers: { 'www-authenticate': 'Bearer' },
  });
}

function busy(): ApiError {
  return apiError('overloaded', 'Too many unknown keys are being looked up: ask again.', { retryAfterMs: 1_000 });
}
