import { describe, expect, test } from 'vitest';
import type { StreamEvent } from '../router/answer.ts';
import { Meter, PromptRatios } from './usage.ts';

function content(text: string, usage: object | null, index = 0): StreamEvent {
  const chunk = { choices: [{ index, delta: { content: text } }], ...(usage === null ? {} : { usage }) };
  return { text: '', kind: 'content', content: text !== '', chunk, usage: usage as StreamEvent['usage'] };
}

describe('metering', () => {
  test('a worker that claims more tokens than it delivered bytes is billed by the bytes', () => {
    const meter = new Meter(100, 25);
    meter.observeEvent(content('four', { prompt_tokens: 10, completion_tokens: 5_000 }));
    expect(meter.read()).toEqual({ promptTokens: 10, cachedTokens: 0, completionTokens: 4 });
  });

  test('no more tokens are billed than were asked for, however many bytes came', () => {
    const meter = new Meter(100, 25);
    meter.limit(3);
    meter.observeEvent(content('some long words', { prompt_tokens: 10, completion_tokens: 12 }));
    expect(meter.read().completionTokens).toBe(3);
  });

  test('a prompt is never longer than its upper bound, whatever the worker claims', () => {
    const meter = new Meter(100, 25);
    meter.observeEvent(content('word', { prompt_tokens: 1_000_000, completion_tokens: 1 }));
    expect(meter.read().promptTokens).toBe(100);
  });

  test('running usage of several choices adds up', () => {
    const meter = new Meter(100, 25);
    meter.observeEvent(content('some words', { prompt_tokens: 7, completion_tokens: 3 }, 0));
    meter.observeEvent(content('other words', { prompt_tokens: 7, completion_tokens: 4 }, 1));
    meter.observeEvent(content(' more', { prompt_tokens: 7, completion_tokens: 5 }, 0));
    expect(meter.read()).toEqual({ promptTokens: 7, cachedTokens: 0, completionTokens: 9 });
  });

  test('the final usage outranks the running one', () => {
    const meter = new Meter(100, 25);
    meter.observeEvent(content('some words', { prompt_tokens: 7, completion_tokens: 3 }));
    const usage = { prompt_tokens: 7, completion_tokens: 4, prompt_tokens_details: { cached_tokens: 6 } };
    meter.observeEvent({ text: '', kind: 'usage', content: false, chunk: { choices: [], usage }, usage });
    expect(meter.read()).toEqual({ promptTokens: 7, cachedTokens: 6, completionTokens: 4 });
  });

  test('without any claim a prompt is estimated and each content event counts as a token', () => {
    const meter = new Meter(100, 25);
    meter.observeEvent(content('one', null));
    meter.observeEvent(content('two', null));
    expect(meter.read()).toEqual({ promptTokens: 25, cachedTokens: 0, completionTokens: 2 });
  });

  test('claims that are no counts are no claims', () => {
    const meter = new Meter(100, 25);
    meter.observeEvent(content('one', { prompt_tokens: -3, completion_tokens: 'many' }));
    expect(meter.read()).toEqual({ promptTokens: 25, cachedTokens: 0, completionTokens: 1 });
  });

  test('a tool call is billed with its framing, which the caller never sees', () => {
    const meter = new Meter(100, 25);
    const call = { id: 'call_1', function: { name: 'get_weather', arguments: '{}' } };
    meter.observeWhole({
      choices: [{ message: { content: null, tool_calls: [call] }, finish_reason: 'tool_calls' }],
      usage: { prompt_tokens: 9, completion_tokens: 25 },
    });
    expect(meter.read().completionTokens).toBe(25);
  });

  test('estimates approach what workers count', () => {
    const ratios = new PromptRatios();
    for (let call = 0; call < 200; call++) ratios.learn('m', 1_000, 400);
    expect(ratios.estimate('m', 1_000)).toBeGreaterThan(390);
    expect(ratios.estimate('m', 1_000)).toBeLessThanOrEqual(400);
  });
});
