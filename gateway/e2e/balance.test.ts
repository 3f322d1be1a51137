import { describe, expect, test } from 'vitest';
import { startTestGateway } from '../testing.ts';

const body = (more: object = {}) => ({
  model: 'tiny',
  messages: [{ role: 'user', content: 'Tell me a story.' }],
  max_tokens: 50,
  ...more,
});

describe('the balance under concurrency', () => {
  test('100 calls at once on money for exactly 10 worst cases: 10 are admitted, the rest get 402, never below zero', async () => {
    // Slow enough that no call ends, and gives change back, before the last one has asked.
    const simulators = [{ decodeBaseMs: 100, decodePerRequestMs: 0 }];
    await using rich = await startTestGateway({ simulators });
    const quote = await rich.agent('POST', '/quote', body());
    const poor = await rich.admin('POST', '/accounts', { name: 'poor' });
    const nanousd = String(BigInt(String(quote.max_nanousd)) * 10n);
    await rich.admin('POST', `/accounts/${poor.id}/credits`, { nanousd, reference: 'ten' });
    const { key } = await rich.admin('POST', `/accounts/${poor.id}/keys`, {});
    const answers = await Promise.all(
      Array.from({ length: 100 }, async () => {
        const response = await rich.post('/v1/chat/completions', body(), { key: String(key) });
        return { status: response.status, body: (await response.json()) as { error?: { code: string } } };
      }),
    );
    const refused = answers.filter(({ status }) => status !== 200);
    expect(
      refused.every(({ status, body: { error } }) => status === 402 && error?.code === 'insufficient_balance'),
    ).toBe(true);
    expect(answers.length - refused.length).toBe(10);
  });

  test('without max_tokens the answer is cut to what is affordable, and the caller is told', async () => {
    await using gateway = await startTestGateway({ balanceNanousd: 6_010_000n });
    const response = await gateway.post('/v1/chat/completions', body({ max_tokens: undefined }));
    expect(response.status).toBe(200);
    const cap = Number(response.headers.get('x-faregate-max-tokens'));
    expect(cap).toBeGreaterThanOrEqual(16);
    expect(cap).toBeLessThan(8_192);
    const answer = (await response.json()) as { usage: { completion_tokens: number } };
    expect(answer.usage.completion_tokens).toBeLessThanOrEqual(cap);
  });

  test('an explicit max_tokens is never lowered: too dear means 402', async () => {
    await using gateway = await startTestGateway({ balanceNanousd: 6_010_000n });
    const response = await gateway.post('/v1/chat/completions', body({ max_tokens: 8_000 }));
    expect(response.status).toBe(402);
    expect(await response.json()).toMatchObject({
      error: { code: 'insufficient_balance', type: 'insufficient_quota' },
    });
  });
});
