/** The purses of this instance: one for each account, and one for each key with a budget. */
import { newId } from './ledger.ts';
import { type Payer, Purse } from './purse.ts';

export class Purses<Refusal> {
  /** By the nearest budget, otherwise by the account. */
  readonly #all = new Map<string, Purse<Refusal>>();
  /** Which budgets have purses here, by account. */
  readonly #budgets = new Map<string, Set<string>>();

  /** The payer's purse; an empty one when there was none. */
  of(payer: Payer, nowMs: number): Purse<Refusal> {
    const scope = scopeOf(payer);
    const known = this.#all.get(scope);
    if (known !== undefined) return known;
    const purse = new Purse<Refusal>(payer, newId('lse'), nowMs);
    this.#all.set(scope, purse);
    if (scope !== payer.accountId) {
      const budgets = this.#budgets.get(payer.accountId) ?? new Set();
      this.#budgets.set(payer.accountId, budgets.add(scope));
    }
    return purse;
  }

  /** Whether the purse is still in use for its payer. */
  has(purse: Purse<Refusal>): boolean {
    return this.#all.get(scopeOf(purse)) === purse;
  }

  delete(purse: Purse<Refusal>): void {
    if (!this.has(purse)) return;
    const scope = scopeOf(purse);
    this.#all.delete(scope);
    const budgets = this.#budgets.get(purse.accountId);
    budgets?.delete(scope);
    if (budgets?.size === 0) this.#budgets.delete(purse.accountId);
  }

  all(): Iterable<Purse<Refusal>> {
    return this.#all.values();
  }

  /** All that the account pays from, whatever the key. */
  ofAccount(accountId: string): Purse<Refusal>[] {
    const scopes = [accountId, ...(this.#budgets.get(accountId) ?? [])];
    return scopes.map((scope) => this.#all.get(scope)).filter((purse) => purse !== undefined);
  }
}

function scopeOf({ accountId, budgets }: Payer): string {
  return budgets[0] ?? accountId;
}
