import { Buffer } from 'node:buffer';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { scanJson } from './json-limits.ts';

/** Texts that end where a careless scan would not see it, short and longer than the near search. */
const trickyText = fc.oneof(
  fc.string(),
  fc
    .array(fc.constantFrom('"', '\\', '\\"', 'a', '{', '[', ',', '\n', 'é', '日'.repeat(30)), { maxLength: 200 })
    .map((p) => p.join('')),
);
const { json } = fc.letrec((tie) => ({
  json: fc.oneof(
    { maxDepth: 5 },
    trickyText,
    fc.integer(),
    fc.constantFrom(true, false, null),
    tie('list'),
    tie('object'),
  ),
  list: fc.array(tie('json'), { maxLength: 5 }),
  object: fc.dictionary(trickyText, tie('json'), { maxKeys: 5 }),
}));
const object = fc.dictionary(trickyText, json, { maxKeys: 6 });
const printed = fc.tuple(object, fc.constantFrom<string | number>(0, 2, '\t')).map(([value, space]) => {
  return { value, bytes: Buffer.from(JSON.stringify(value, null, space)) };
});

/** What the scan promises to count, told by a walk over the parsed value. */
function walk(value: unknown): { nodes: number; depth: number } {
  if (typeof value !== 'object' || value === null) return { nodes: 1, depth: 0 };
  const inner = Object.values(value).map(walk);
  const nodes = inner.reduce((sum, child) => sum + child.nodes, 0);
  return { nodes: 1 + Math.max(1, nodes), depth: 1 + Math.max(0, ...inner.map((child) => child.depth)) };
}

test('exactly the bodies with too many values or levels are refused', () => {
  return fc.assert(
    fc.property(printed, ({ value, bytes }) => {
      const { nodes, depth } = walk(value);
      expect(() => scanJson(bytes, depth, nodes)).not.toThrow();
      expect(() => scanJson(bytes, depth - 1, nodes)).toThrow('nests deeper');
      expect(() => scanJson(bytes, depth, nodes - 1)).toThrow('holds more');
    }),
  );
});

test('each member of the outermost object is found with its own text', () => {
  return fc.assert(
    fc.property(printed, ({ value, bytes }) => {
      const members = scanJson(bytes, 64, 100_000);
      expect(
        members.map(({ name, start, end }) => [name, JSON.parse(`{${bytes.toString('utf8', start, end)}}`)]),
      ).toEqual(Object.entries(value).map(([name, inner]) => [name, Object.fromEntries([[name, inner]])]));
    }),
  );
});

test('no print indented by up to four is longer than a member and its padding', () => {
  return fc.assert(
    fc.property(object, fc.integer({ min: 0, max: 4 }), (value, indent) => {
      const bytes = Buffer.from(JSON.stringify(value));
      for (const { name, start, end, padding } of scanJson(bytes, 64, 100_000)) {
        expect(Buffer.byteLength(JSON.stringify(value[name], null, indent))).toBeLessThanOrEqual(end - start + padding);
      }
    }),
  );
});

test('a name written with escapes is known by what it means, and a repeated name is told twice', () => {
  const bytes = Buffer.from('{"mod\\u0065l":1,"model":2}');
  expect(scanJson(bytes, 64, 100).map((member) => member.name)).toEqual(['model', 'model']);
});

test('any bytes at all are scanned to an end', () => {
  const scanned = fc.property(
    fc.oneof(
      fc.uint8Array(),
      trickyText.map((text) => Buffer.from(`{"a":"${text}`)),
    ),
    (bytes) => {
      expect(() => scanJson(Buffer.from(bytes), 1_000, 100_000)).not.toThrow();
    },
  );
  return fc.assert(scanned);
});

test('a million levels or values are refused without being parsed', () => {
  expect(() => scanJson(Buffer.from('['.repeat(1_000_000)), 64, 100_000)).toThrow('nests deeper than 64');
  expect(() => scanJson(Buffer.from(`[${'{},'.repeat(1_000_000)}]`), 64, 100_000)).toThrow('more than 100000');
});
