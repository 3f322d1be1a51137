import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { cutUsage, withCharge } from './usage-text.ts';

const usage = { prompt_tokens: 3, completion_tokens: 2, prompt_tokens_details: { cached_tokens: 1 } };

describe('usage inside text', () => {
  test('cutting usage leaves everything else as it came', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (content, id) => {
        const before = { id, choices: [{ delta: { content: `${content},"usage":{}` } }] };
        const frame = `data: ${JSON.stringify({ ...before, usage })}\n\n`;
        expect(cutUsage(frame)).toBe(`data: ${JSON.stringify(before)}\n\n`);
      }),
    );
  });

  test('members after usage stay', () => {
    const frame = `data: ${JSON.stringify({ id: 'a', usage, prompt_text: null })}\n\n`;
    expect(cutUsage(frame)).toBe('data: {"id":"a","prompt_text":null}\n\n');
  });

  test('the charge becomes part of usage and the rest of the body stays as it came', () => {
    fc.assert(
      fc.property(fc.string(), fc.constantFrom(undefined, 2), (content, indent) => {
        const answer = { choices: [{ message: { content } }], usage, metrics: null };
        const body = withCharge(JSON.stringify(answer, null, indent), '"cost":0.5');
        expect(JSON.parse(String(body))).toEqual({ ...answer, usage: { ...usage, cost: 0.5 } });
      }),
    );
  });

  test('text without a usage object are told apart', () => {
    expect(cutUsage('{"choices":[]}')).toBeNull();
    expect(withCharge('{"usage":null}', '"cost":1')).toBeNull();
  });
});
