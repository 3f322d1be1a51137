import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { seededRandom } from './random.ts';
import { textOfPattern } from './regex.ts';
import { jsonOfSchema } from './schema.ts';

describe('a text of a pattern matches it', () => {
  const patterns = [
    'abc',
    'a|bc|d',
    '(ab)+c?',
    '[a-z]{3,5}_[A-Z0-9]*',
    '[^a-z]{4}',
    '\\d{4}-\\d{2}-\\d{2}',
    '(?:x|y){2}\\.\\w+',
    '^anchored$',
    '"[^"]*"',
    '\\u0041[\\]\\-x]',
    '.{3}\\s\\S',
    '(a(b(c)?)?)?',
    '[a-z]{8}</think>[A-Z]{8}',
  ];

  test.for(patterns)('%s', (pattern) => {
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        expect(textOfPattern(pattern, seededRandom(seed))).toMatch(new RegExp(`^(?:${pattern})$`, 's'));
      }),
      { numRuns: 50 },
    );
  });

  test.for(['(', ')', '[', '*a', 'a(?=b)', '(a)\\1', '\\p{L}', 'a\\', '[z-a]', '(?<n>a)'])(
    '%s is refused',
    (pattern) => {
      expect(() => textOfPattern(pattern, seededRandom(1))).toThrow('Grammar error');
    },
  );
});

/** Schemas and the values that they describe, side by side. */
function fits(schema: Record<string, unknown>, value: unknown): boolean {
  switch (schema.type) {
    case 'object': {
      const properties = schema.properties as Record<string, Record<string, unknown>>;
      const object = value as Record<string, unknown>;
      return (
        (schema.required as string[]).every((name) => name in object) &&
        Object.entries(object).every(([name, item]) => fits(properties[name] ?? {}, item))
      );
    }
    case 'array': {
      const list = value as unknown[];
      const { minItems, maxItems, items } = schema as {
        minItems: number;
        maxItems: number;
        items: Record<string, unknown>;
      };
      return list.length >= minItems && list.length <= maxItems && list.every((item) => fits(items, item));
    }
    case 'integer':
      return (
        Number.isInteger(value) && Number(value) >= Number(schema.minimum) && Number(value) <= Number(schema.maximum)
      );
    case 'number':
      return Number(value) >= Number(schema.minimum) && Number(value) <= Number(schema.maximum);
    case 'string':
      return schema.enum === undefined
        ? String(value).length >= Number(schema.minLength) && String(value).length <= Number(schema.maxLength)
        : (schema.enum as string[]).includes(String(value));
    default:
      return typeof value === schema.type || (schema.type === 'null' && value === null);
  }
}

const range = (most: number) => fc.tuple(fc.nat(most), fc.nat(most)).map(([low, more]) => [low, low + more]);

const { schema: anySchema } = fc.letrec<{ schema: Record<string, unknown> }>((tie) => ({
  schema: fc.oneof(
    { depthSize: 'small' },
    range(20).map(([minimum, maximum]) => ({ type: 'integer', minimum, maximum })),
    range(20).map(([minimum, maximum]) => ({ type: 'number', minimum, maximum })),
    range(80).map(([minLength, maxLength]) => ({ type: 'string', minLength, maxLength })),
    fc.array(fc.string(), { minLength: 1, maxLength: 3 }).map((list) => ({ type: 'string', enum: list })),
    fc.constantFrom({ type: 'boolean' }, { type: 'null' }),
    fc
      .tuple(range(3), tie('schema'))
      .map(([[minItems, maxItems], items]) => ({ type: 'array', minItems, maxItems, items })),
    fc.dictionary(fc.stringMatching(/^[a-z]{1,5}$/), tie('schema'), { maxKeys: 4 }).map((properties) => ({
      type: 'object',
      properties,
      required: Object.keys(properties).filter((_, at) => at % 2 === 0),
    })),
  ),
}));

describe('JSON of a schema', () => {
  test('is a value that the schema accepts', () => {
    fc.assert(
      fc.property(anySchema, fc.integer(), (schema, seed) => {
        expect(fits(schema, JSON.parse(jsonOfSchema(schema, seededRandom(seed))))).toBe(true);
      }),
    );
  });

  test('ends although the schema refers to itself', () => {
    const tree = {
      $ref: '#/$defs/node',
      $defs: {
        node: {
          type: 'object',
          properties: { name: { type: 'string' }, children: { type: 'array', items: { $ref: '#/$defs/node' } } },
          required: ['name', 'children'],
        },
      },
    };
    for (let seed = 0; seed < 50; seed += 1) {
      expect(JSON.parse(jsonOfSchema(tree, seededRandom(seed)))).toHaveProperty('children');
    }
  });

  test('heeds const, anyOf, allOf, formats and tuples', () => {
    const schema = {
      allOf: [{ properties: { kind: { const: 'x' } }, required: ['kind'] }],
      type: 'object',
      properties: {
        when: { type: 'string', format: 'date-time' },
        either: { anyOf: [{ type: 'null' }, { type: 'integer' }] },
        pair: { type: 'array', prefixItems: [{ type: 'string' }, { type: 'boolean' }], maxItems: 2 },
      },
      required: ['when', 'either', 'pair'],
    };
    const value = JSON.parse(jsonOfSchema(schema, seededRandom(3)));
    expect(value.kind).toBe('x');
    expect(Number.isNaN(Date.parse(value.when))).toBe(false);
    expect(value.either === null || Number.isInteger(value.either)).toBe(true);
    expect(value.pair.map((item: unknown) => typeof item)).toEqual(['string', 'boolean']);
  });

  test('of an unknown type or a lost reference is refused', () => {
    expect(() => jsonOfSchema({ type: 'banana' }, seededRandom(1))).toThrow('Invalid type: banana');
    expect(() => jsonOfSchema({ $ref: '#/$defs/gone' }, seededRandom(1))).toThrow('does not exist');
  });
});
