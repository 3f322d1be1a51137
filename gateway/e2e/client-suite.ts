import type OpenAI from 'openai';
import { zodResponseFormat } from 'openai/helpers/zod';
import { beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { declareErrors } from './client-errors.ts';
import { declareOtherEndpoints } from './client-other.ts';
import { declareStreams } from './client-streams.ts';
import { beyondOpenAi, type ClientTarget, clientOf, expectPriced, type Face, hello } from './client-target.ts';
import { declareTools } from './client-tools.ts';

/**
 * Declares what the unmodified `openai` client must be able to do at a target: the same tests for a bare engine, for the
 * gateway over simulators and for the gateway over a real vLLM. `target` is asked when the tests run, not before.
 */
export function clientSuite(face: Face, target: () => ClientTarget): void {
  declareChat(face, target);
  declareStreams(face, target);
  declareTools(target);
  declareOtherEndpoints(face, target);
  declareErrors(face, target);
}

function declareChat(face: Face, target: () => ClientTarget) {
  describe('chat completions with the stock client', () => {
    let openai: OpenAI;
    beforeAll(() => {
      openai = clientOf(target());
    });

    it('answers with a message, a finish reason and usage that adds up', async () => {
      const answer = await openai.chat.completions.create(hello(target()));
      expect(answer).toMatchObject({ object: 'chat.completion', model: target().model });
      expect(answer.id).toMatch(/^chatcmpl-/);
      expect(answer.choices).toHaveLength(1);
      expect(answer.choices[0]).toMatchObject({ index: 0, message: { role: 'assistant' } });
      expect(answer.choices[0]?.message.content).not.toBe('');
      expect(['stop', 'length']).toContain(answer.choices[0]?.finish_reason);
      const { prompt_tokens = 0, completion_tokens = 0, total_tokens } = answer.usage ?? {};
      expect(prompt_tokens).toBeGreaterThan(0);
      expect(completion_tokens).toBeGreaterThan(0);
      expect(completion_tokens).toBeLessThanOrEqual(8);
      expect(total_tokens).toBe(prompt_tokens + completion_tokens);
    });

    it('gives the same text for the same seed and another for another seed', async () => {
      const say = async (seed: number) => {
        const answer = await openai.chat.completions.create({
          ...hello(target()),
          seed,
          temperature: 1,
          max_tokens: 16,
        });
        return answer.choices[0]?.message.content;
      };
      const [first, again, other] = [await say(1), await say(1), await say(2)];
      expect(again).toBe(first);
      expect(other).not.toBe(first);
    });

    it('gives two choices for n = 2', async () => {
      const answer = await openai.chat.completions.create({ ...hello(target()), n: 2, temperature: 1 });
      expect(answer.choices.map((choice) => choice.index)).toEqual([0, 1]);
      for (const choice of answer.choices) expect(choice.message.content).toBeTypeOf('string');
    });

    it('gives the log probabilities of each token and of its rivals', async () => {
      const answer = await openai.chat.completions.create({ ...hello(target()), logprobs: true, top_logprobs: 2 });
      const tokens = answer.choices[0]?.logprobs?.content ?? [];
      expect(tokens).toHaveLength(answer.usage?.completion_tokens ?? -1);
      for (const token of tokens) {
        expect(token.logprob).toBeLessThanOrEqual(0);
        expect(token.top_logprobs.length).toBeGreaterThanOrEqual(2);
      }
    });

    it('stops before a stop string', async () => {
      const answer = await openai.chat.completions.create({ ...hello(target()), max_tokens: 200, stop: ['e', 'a'] });
      expect(answer.choices[0]?.finish_reason).toBe('stop');
      expect(answer.choices[0]?.message.content).not.toMatch(/[ea]/);
    });

    it('understands max_completion_tokens and content parts', async () => {
      const { max_tokens: _, ...rest } = hello(target());
      const answer = await openai.chat.completions.create({
        ...rest,
        messages: [{ role: 'user', content: [{ type: 'text', text: 'Hello there' }] }],
        max_completion_tokens: 3,
      });
      expect(answer.choices[0]?.finish_reason).toBe('length');
      expect(answer.usage?.completion_tokens).toBe(3);
    });

    it('keeps to a JSON schema, parsed by the client', async () => {
      const Pick = z.object({ colour: z.enum(['red', 'green']) });
      const answer = await openai.chat.completions.parse({
        ...hello(target()),
        max_tokens: 60,
        response_format: zodResponseFormat(Pick, 'pick'),
      });
      expect(Pick.safeParse(answer.choices[0]?.message.parsed).success).toBe(true);
    });

    it("passes vLLM's own output fields on", async () => {
      const answer = await openai.chat.completions.create({
        ...hello(target()),
        ...beyondOpenAi({ structured_outputs: { choice: ['yes', 'no'] } }),
      });
      expect(answer.choices[0]?.message.content).toMatch(/^(yes|no)$/);
    });

    if (face === 'gateway') declarePrices(target);
  });
}

/** What only the gateway tells about a call. */
function declarePrices(target: () => ClientTarget) {
  it('tells the cost in usage and names the call, the worker and the limits in headers', async () => {
    const { data, response } = await clientOf(target()).chat.completions.create(hello(target())).withResponse();
    const { faregate } = expectPriced(data.usage);
    const { headers } = response;
    expect(headers.get('x-faregate-call')).toBe(faregate.call);
    expect(headers.get('x-faregate-worker')).toBe(faregate.worker);
    expect(headers.get('x-faregate-region')).toBe(faregate.region);
    expect(headers.get('x-faregate-held-nanousd')).toBe(faregate.held_nanousd);
    expect(headers.get('x-faregate-charged-nanousd')).toBe(faregate.charged_nanousd);
    expect(headers.get('x-faregate-attempts')).toBe('1');
    expect(data.id).toBe(`chatcmpl-${faregate.call}`);
    for (const name of ['x-request-id', 'x-ratelimit-limit-requests', 'x-ratelimit-remaining-tokens']) {
      expect(headers.get(name), name).not.toBeNull();
    }
  });

  it('ignores unknown fields and names them', async () => {
    const { response } = await clientOf(target())
      .chat.completions.create({ ...hello(target()), ...beyondOpenAi({ frobnicate: 1 }) })
      .withResponse();
    expect(response.headers.get('x-faregate-ignored')).toBe('frobnicate');
  });
}
