/** The `provider` object of a body, or of the header `x-faregate-provider`: what a caller wants of the worker that serves it. */
import { anyPolicy, intersect, type Policy, type Rule, type Sort, sorts } from '../router/policy.ts';
import { invalidField, isObject, type JsonObject } from './request-checks.ts';

/** Most that the caller pays, in USD per million tokens; null: whatever the model costs. */
export interface MaxPrice {
  readonly prompt: number | null;
  readonly completion: number | null;
}

export interface Provider {
  readonly policy: Policy;
  readonly maxPrice: MaxPrice;
}

const FIELDS: ReadonlySet<string> = new Set(['sort', 'max_price', 'max_ttft_ms', 'deadline_ms', 'allow', 'deny']);
const LISTS: ReadonlySet<string> = new Set(['operators', 'workers', 'countries']);
const LIST_MAX = 256;
const MS_MAX = 86_400_000;

export const anyProvider: Provider = { policy: anyPolicy, maxPrice: { prompt: null, completion: null } };

/** Reads the header and the body's field; what both say holds. Throws `invalid_request` with the field at fault as `param`. */
export function parseProvider(header: string | undefined, field: unknown): Provider {
  const fromBody = field === undefined || field === null ? anyProvider : read(field, 'provider');
  if (header === undefined) return fromBody;
  return narrow(read(parseHeader(header), 'x-faregate-provider'), fromBody);
}

/** What keeps both; where both say what is best, `inner` has the last word. */
export function narrow(outer: Provider, inner: Provider): Provider {
  if (outer === anyProvider) return inner;
  if (inner === anyProvider) return outer;
  return {
    policy: intersect(outer.policy, inner.policy),
    maxPrice: {
      prompt: least(outer.maxPrice.prompt, inner.maxPrice.prompt),
      completion: least(outer.maxPrice.completion, inner.maxPrice.completion),
    },
  };
}

function parseHeader(header: string): unknown {
  try {
    return JSON.parse(header);
  } catch {
    throw invalidField('x-faregate-provider', 'must be a JSON object');
  }
}

function read(value: unknown, name: string): Provider {
  const fields = objectOf(value, name, FIELDS);
  const allow = objectOf(fields.allow ?? {}, `${name}.allow`, LISTS);
  const deny = objectOf(fields.deny ?? {}, `${name}.deny`, LISTS);
  const rule = (list: string, as = (text: string) => text): Rule => ({
    only: allow[list] === undefined ? null : listOf(allow[list], `${name}.allow.${list}`, as),
    never: deny[list] === undefined ? new Set() : listOf(deny[list], `${name}.deny.${list}`, as),
  });
  return {
    policy: {
      sort: sortOf(fields.sort, `${name}.sort`),
      maxTtftMs: positive(fields.max_ttft_ms, `${name}.max_ttft_ms`, MS_MAX),
      deadlineMs: positive(fields.deadline_ms, `${name}.deadline_ms`, MS_MAX),
      operators: rule('operators'),
      workers: rule('workers'),
      countries: rule('countries', (code) => code.toUpperCase()),
    },
    maxPrice: priceOf(fields.max_price, `${name}.max_price`),
  };
}

function priceOf(value: unknown, name: string): MaxPrice {
  const fields = objectOf(value ?? {}, name, new Set(['prompt', 'completion']));
  return {
    prompt: positive(fields.prompt, `${name}.prompt`),
    completion: positive(fields.completion, `${name}.completion`),
  };
}

function sortOf(value: unknown, name: string): Sort {
  if (value === undefined || value === null) return anyPolicy.sort;
  const sort = sorts.find((one) => one === value);
  if (sort === undefined) throw invalidField(name, `must be one of ${sorts.join(', ')}`);
  return sort;
}

function positive(value: unknown, name: string, max = Number.MAX_SAFE_INTEGER): number | null {
  if (value === undefined || value === null) return null;
  if (typeof value === 'number' && value > 0 && value <= max) return value;
  throw invalidField(
    name,
    max === MS_MAX ? `must be a number of milliseconds up to ${max}` : 'must be a positive number',
  );
}

function listOf(value: unknown, name: string, as: (text: string) => string): ReadonlySet<string> {
  const isList = Array.isArray(value) && value.length <= LIST_MAX && value.every((one) => typeof one === 'string');
  if (!isList) throw invalidField(name, `must be an array of up to ${LIST_MAX} strings`);
  return new Set((value as string[]).map(as));
}

/** An unknown name is refused: a wish that nobody heeds would be worse than none. */
function objectOf(value: unknown, name: string, known: ReadonlySet<string>): JsonObject {
  if (!isObject(value)) throw invalidField(name, 'must be an object');
  for (const field of Object.keys(value)) {
    if (!known.has(field)) throw invalidField(`${name}.${field}`, `is not known; there are ${[...known].join(', ')}`);
  }
  return value;
}

function least(one: number | null, other: number | null): number | null {
  if (one === null || other === null) return one ?? other;
  return Math.min(one, other);
}
