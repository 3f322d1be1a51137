/** Maps whose keys are tokens or ids, and so differ with the vocabulary. */
const KEYED_BY_TOKEN = new Set(['prompt_logprobs', 'top_logprobs']);

/** Lists whose length says something. */
const COUNTED = new Set(['choices', 'data', 'tool_calls', 'permission']);

/** The shape of a JSON value: keys, kinds, and the different shapes of what lists hold. */
export function shapeOf(value: unknown, name = ''): unknown {
  if (name === 'bytes') {
    return 'bytes of a token, which may be none';
  }
  if (Array.isArray(value)) {
    const shapes = [...new Set(value.map((item) => JSON.stringify(shapeOf(item, name))))].toSorted();
    return COUNTED.has(name) ? { length: value.length, shapes } : { shapes };
  }
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value);
    return KEYED_BY_TOKEN.has(name) && value.constructor === Object && !('token' in value)
      ? { keys: 'tokens', shapes: [...new Set(entries.map(([, item]) => JSON.stringify(shapeOf(item))))].toSorted() }
      : Object.fromEntries(entries.map(([key, item]) => [key, shapeOf(item, key)]).toSorted());
  }
  return value === null ? 'null' : typeof value;
}
