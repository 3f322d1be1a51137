/**
 * Mutants (R8): each breaks one rule of money in one place of the source, in the build of one test run only, and the test that is
 * named for the rule must fail. A mutant whose text is no longer in the source is an error, not a success.
 */
export interface Mutant {
  readonly name: string;
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  /** Where the test is that kills it, and its title. */
  readonly killer: { readonly file: string; readonly title: string };
}

export const mutants: readonly Mutant[] = [
  {
    name: 'acknowledge before the journal is written',
    file: 'payments/holds.ts',
    find: ' || !(await journal.flushed())',
    replace: '',
    killer: {
      file: 'payments/guarantees.test.ts',
      title: 'when a charge is acknowledged, its record is in the journal',
    },
  },
  {
    name: 'no replay of the journal',
    file: 'payments/earlier-lives.ts',
    find: 'calls: callsToSettle(records)',
    replace: 'calls: callsToSettle([])',
    killer: {
      file: 'payments/guarantees.test.ts',
      title:
        'the next life charges what the lease of the last one covers before it returns the rest, and files no exception',
    },
  },
  {
    name: 'a call that is there already counts as new',
    file: 'payments/posting.ts',
    find: 'on conflict (id) do nothing\n      returning account_id',
    replace: 'on conflict (id) do update set total_ms = excluded.total_ms\n      returning account_id',
    killer: {
      file: 'payments/settle.test.ts',
      title: 'the same batch again, also at once and in other company, charges nothing more',
    },
  },
  {
    name: 'no epoch check at grants',
    file: 'payments/lease-statements.ts',
    find: ' and epoch = $' + '{holder.epoch} for share',
    replace: ' for share',
    killer: {
      file: 'payments/leases.test.ts',
      title: 'an instance gets no more money once its next life has begun, and is not healthy any more',
    },
  },
  {
    name: 'leases are returned before their calls are settled',
    file: 'payments/earlier-lives.ts',
    find: 'for (const text of calls)',
    replace: 'await returnLeases(sql, holder.instanceId, holder.epoch);\n  for (const text of calls)',
    killer: {
      file: 'payments/guarantees.test.ts',
      title:
        'the next life charges what the lease of the last one covers before it returns the rest, and files no exception',
    },
  },
  {
    name: 'segments are retired before their calls are settled',
    file: 'payments/journal-files.ts',
    find: 'if (number < oldest) oldest = number;',
    replace: '',
    killer: {
      file: 'payments/journal.test.ts',
      title: 'a segment is retired when all calls that began up to it are settled, and removed a day later',
    },
  },
  {
    name: 'a charge above the hold',
    file: 'payments/holds.ts',
    find: 'return least(cost(closing.price, closing), this.amount);',
    replace: 'return cost(closing.price, closing);',
    killer: { file: 'payments/holds.test.ts', title: 'a charge is what was used, and never more than the hold' },
  },
  {
    name: 'rounding of each part by itself',
    file: 'payments/prices.ts',
    find: '      cached * price.cachedInput +\n      BigInt(usage.completionTokens) * price.output +',
    replace: '      cached * price.cachedInput) + roundUp(\n      BigInt(usage.completionTokens) * price.output +',
    killer: {
      file: 'payments/prices.test.ts',
      title: 'a cost is rounded once, up: a millionth of a nano-USD costs one',
    },
  },
  {
    name: "an operator's share above the charge",
    file: 'payments/prices.ts',
    find: 'return (charged * BigInt(sharePpm)) / MILLION;',
    replace: 'return charged + (charged * BigInt(sharePpm)) / MILLION;',
    killer: {
      file: 'payments/prices.test.ts',
      title: 'the share of the operator and the rest add up to the charge, the share rounded down',
    },
  },
  {
    name: 'a revoked key stays known',
    file: 'gateway/auth.ts',
    find: 'if (ids.has(principal.keyId)) this.#known.delete(hash);',
    replace: 'void hash, principal;',
    killer: { file: 'gateway/auth.test.ts', title: 'a revoked key stops working in every gateway that watches' },
  },
  {
    name: 'the budgets of the keys above do not bind',
    file: 'gateway/completions.ts',
    find: 'accountId, keyId, budgets, amount });',
    replace: 'accountId, keyId, budgets: budgets.slice(0, 1), amount });',
    killer: {
      file: 'gateway/key-routes.test.ts',
      title:
        'binds the key and all keys made of it: beyond it there is a 402 that names it, for them and for nobody else',
    },
  },
  {
    name: "a stock client's retry is a call of its own",
    file: 'gateway/replays.ts',
    find: 'const first = retries === 0 ? undefined : this.#repeated(place, retries);',
    replace: 'const first = undefined as Recording | undefined;',
    killer: {
      file: 'gateway/replays.test.ts',
      title: 'is given the answer that it lost, and another one that was asked the same its own',
    },
  },
];
