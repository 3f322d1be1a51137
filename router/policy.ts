/** What a caller, or the owner of a key, wants of the worker: hard limits, and what "best" is to mean. */

export const sorts = ['latency', 'ttft', 'throughput', 'price'] as const;

/**
 * `latency`: the whole answer soonest. `ttft`: its first content soonest. `throughput`: the most tokens a second once it has begun.
 * `price`: the least billed time; the price of a token is the model's and the same everywhere.
 */
export type Sort = (typeof sorts)[number];

/** Who may serve; `only: null` allows everybody who is not in `never`. */
export interface Rule {
  readonly only: ReadonlySet<string> | null;
  readonly never: ReadonlySet<string>;
}

export interface Policy {
  readonly sort: Sort;
  /** Longest predicted time to the first content. */
  readonly maxTtftMs: number | null;
  /** Longest time of the whole call, predicted and real. */
  readonly deadlineMs: number | null;
  readonly operators: Rule;
  readonly workers: Rule;
  readonly countries: Rule;
}

const anybody: Rule = { only: null, never: new Set() };

export const anyPolicy: Policy = {
  sort: 'latency',
  maxTtftMs: null,
  deadlineMs: null,
  operators: anybody,
  workers: anybody,
  countries: anybody,
};

export function permits({ only, never }: Rule, id: string): boolean {
  return (only === null || only.has(id)) && !never.has(id);
}

/** What keeps both. Where both say what is best, `inner` has the last word. */
export function intersect(outer: Policy, inner: Policy): Policy {
  if (outer === anyPolicy) return inner;
  return {
    sort: inner.sort === anyPolicy.sort ? outer.sort : inner.sort,
    maxTtftMs: least(outer.maxTtftMs, inner.maxTtftMs),
    deadlineMs: least(outer.deadlineMs, inner.deadlineMs),
    operators: both(outer.operators, inner.operators),
    workers: both(outer.workers, inner.workers),
    countries: both(outer.countries, inner.countries),
  };
}

function both(one: Rule, other: Rule): Rule {
  const only = one.only === null || other.only === null ? (one.only ?? other.only) : common(one.only, other.only);
  return { only, never: new Set([...one.never, ...other.never]) };
}

function common(one: ReadonlySet<string>, other: ReadonlySet<string>): ReadonlySet<string> {
  return new Set([...one].filter((id) => other.has(id)));
}

function least(one: number | null, other: number | null): number | null {
  if (one === null || other === null) return one ?? other;
  return Math.min(one, other);
}
