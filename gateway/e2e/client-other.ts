import type OpenAI from 'openai';
import { beforeAll, describe, expect, it } from 'vitest';
import { beyondOpenAi, type ClientTarget, clientOf, expectPriced, type Face } from './client-target.ts';

/** Completions, embeddings and models. */
export function declareOtherEndpoints(face: Face, target: () => ClientTarget): void {
  declareCompletions(face, target);
  declareEmbeddings(face, target);
  declareModels(face, target);
}

function declareCompletions(face: Face, target: () => ClientTarget) {
  describe('completions with the stock client', () => {
    let openai: OpenAI;
    beforeAll(() => {
      openai = clientOf(target());
    });
    const request = () => ({ model: target().model, prompt: 'Hello there', max_tokens: 8, seed: 7 });

    it('continues a prompt', async () => {
      const answer = await openai.completions.create(request());
      expect(answer).toMatchObject({ object: 'text_completion', model: target().model });
      expect(answer.id).toMatch(/^cmpl-/);
      expect(answer.choices[0]?.text).not.toBe('');
      expect(answer.usage?.completion_tokens).toBeLessThanOrEqual(8);
      if (face === 'gateway') expectPriced(answer.usage);
    });

    it('streams the same text', async () => {
      const whole = await openai.completions.create(request());
      const { text, usages } = await read(await openai.completions.create({ ...request(), stream: true }));
      expect(text).toBe(whole.choices[0]?.text);
      expect(usages).toEqual([]);
    });

    it('streams exactly one usage when asked', async () => {
      const options = { stream: true as const, stream_options: { include_usage: true } };
      const { usages } = await read(await openai.completions.create({ ...request(), ...options }));
      expect(usages).toHaveLength(1);
      if (face === 'gateway') expectPriced(usages[0]);
    });

    it('answers a list of prompts and of token ids in order', async () => {
      for (const prompt of [
        ['Hello', 'Bye'],
        [[300, 301], [302]],
      ]) {
        const answer = await openai.completions.create({ ...request(), ...beyondOpenAi({ prompt }), max_tokens: 2 });
        expect(answer.choices.map((choice) => choice.index)).toEqual([0, 1]);
        expect(answer.usage?.completion_tokens).toBe(4);
      }
    });

    it('echoes the prompt with log probabilities', async () => {
      const answer = await openai.completions.create({ ...request(), echo: true, logprobs: 1 });
      expect(answer.choices[0]?.text.startsWith('Hello there')).toBe(true);
      expect(answer.choices[0]?.logprobs?.tokens).toHaveLength(answer.usage?.total_tokens ?? -1);
    });
  });
}

async function read(stream: AsyncIterable<OpenAI.Completion>) {
  let text = '';
  const usages: OpenAI.CompletionUsage[] = [];
  for await (const chunk of stream) {
    text += chunk.choices[0]?.text ?? '';
    if (chunk.usage != null) usages.push(chunk.usage);
  }
  return { text, usages };
}

function declareEmbeddings(face: Face, target: () => ClientTarget) {
  describe('embeddings with the stock client', () => {
    const embed = async (input: string | string[] | number[], encoding_format?: 'float' | 'base64') => {
      const { embedding, ...rest } = target();
      const openai = clientOf({ ...rest, ...embedding });
      const format = encoding_format === undefined ? {} : { encoding_format };
      return openai.embeddings.create({ model: embedding.model, input, ...format });
    };

    it('gives the same vector as floats, as base64 and as the client decodes it', async () => {
      const floats = (await embed('Hello', 'float')).data[0]?.embedding ?? [];
      const decoded = (await embed('Hello')).data[0]?.embedding ?? [];
      const base64: unknown = (await embed('Hello', 'base64')).data[0]?.embedding;
      expect(floats.length).toBeGreaterThan(8);
      expect(decoded).toHaveLength(floats.length);
      for (const [i, value] of floats.entries()) expect(decoded[i]).toBeCloseTo(value, 5);
      expect(base64).toBeTypeOf('string');
    });

    it('answers a list in order and counts its tokens', async () => {
      const answer = await embed(['Hello', 'Good bye', 'Hello']);
      expect(answer.data.map((item) => item.index)).toEqual([0, 1, 2]);
      expect(answer.data[2]?.embedding).toEqual(answer.data[0]?.embedding);
      expect(answer.data[1]?.embedding).not.toEqual(answer.data[0]?.embedding);
      expect(answer.usage.prompt_tokens).toBeGreaterThanOrEqual(3);
      if (face === 'gateway') expectPriced({ completion_tokens: 0, ...answer.usage });
    });

    it('takes token ids', async () => {
      const answer = await embed([300, 301, 302]);
      expect(answer.data).toHaveLength(1);
      expect(answer.usage.prompt_tokens).toBeGreaterThanOrEqual(3);
    });
  });
}

function declareModels(face: Face, target: () => ClientTarget) {
  describe('models with the stock client', () => {
    it('lists what can be called', async () => {
      const ids: string[] = [];
      for await (const model of clientOf(target()).models.list()) ids.push(model.id);
      expect(ids).toContain(target().model);
    });

    it.runIf(face === 'gateway')('retrieves one of them', async () => {
      const model = await clientOf(target()).models.retrieve(target().model);
      expect(model).toMatchObject({ id: target().model, object: 'model' });
    });
  });
}
