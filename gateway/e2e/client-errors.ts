import OpenAI from 'openai';
import { beforeAll, describe, expect, it } from 'vitest';
import { beyondOpenAi, type ClientTarget, clientOf, expectError, type Face, hello } from './client-target.ts';

const badRequest = { type: OpenAI.BadRequestError, status: 400, code: 'invalid_request' };
const noSuchModel = { type: OpenAI.NotFoundError, status: 404, code: 'model_not_found', param: 'model' };
const wrongKey = { type: OpenAI.AuthenticationError, status: 401, code: 'invalid_api_key' };

/** Every class of error that the client knows and the target can answer with. */
export function declareErrors(face: Face, target: () => ClientTarget): void {
  describe('errors with the stock client', () => {
    let openai: OpenAI;
    beforeAll(() => {
      openai = clientOf(target());
    });
    const chat = (fields: Record<string, unknown>) =>
      openai.chat.completions.create({ ...hello(target()), ...beyondOpenAi(fields) });

    it.each(['nope', 'fg_test_0000000000000000000000000000000000000'])('401 for the key %s', async (apiKey) => {
      const stranger = clientOf({ ...target(), apiKey });
      await expectError(face, stranger.chat.completions.create(hello(target())), wrongKey);
      await expectError(face, stranger.models.list(), wrongKey);
    });

    it('404 for an unknown model, whole and streamed', async () => {
      await expectError(face, chat({ model: 'nope' }), noSuchModel);
      await expectError(face, chat({ model: 'nope', stream: true }), noSuchModel);
    });

    it('404 for an unknown path and 405 for a wrong method', async () => {
      await expectError(face, openai.get('/nope'), { type: OpenAI.NotFoundError, status: 404, code: 'not_found' });
      const wrongMethod = { type: OpenAI.APIError, status: 405, code: 'method_not_allowed' };
      await expectError(face, openai.put('/chat/completions', { body: {} }), wrongMethod);
    });

    it.each([
      ['temperature', { temperature: 3 }],
      ['max_tokens', { max_tokens: 0 }],
      ['messages', { messages: undefined }],
      ['messages', { messages: 'hi' }],
      ['stream_options', { stream_options: { include_usage: true } }],
      ['top_logprobs', { top_logprobs: 2 }],
    ])('400 that names %s for %j', async (param, fields) => {
      const error = await expectError(face, chat(fields), { ...badRequest, param });
      if (face === 'gateway') expect(error.message).toContain(param);
    });

    it('400 before a stream begins', async () => {
      await expectError(face, chat({ temperature: 3, stream: true }), { ...badRequest, param: 'temperature' });
    });

    it('400 for a prompt longer than the context', async () => {
      const words = 'one two three four five six '.repeat(target().contextLength / 4);
      const tooLong = { ...badRequest, code: 'context_length_exceeded', param: 'messages' };
      await expectError(face, chat({ messages: [{ role: 'user', content: words }] }), tooLong);
    });

    if (face === 'gateway') declareGatewayErrors(target);
  });
}

/** Refusals that only the gateway knows. */
function declareGatewayErrors(target: () => ClientTarget) {
  const face = 'gateway';
  const chat = (fields: Record<string, unknown> = {}, apiKey = target().apiKey) =>
    clientOf({ ...target(), apiKey }).chat.completions.create({ ...hello(target()), ...beyondOpenAi(fields) });

  it('400 for fields that reach into the engine', async () => {
    await expectError(face, chat({ cache_salt: 'mine' }), { ...badRequest, param: 'cache_salt' });
    await expectError(face, chat({ ignore_eos: true }), { ...badRequest, param: 'ignore_eos' });
  });

  it('400 for a body that is not JSON and 415 for one that does not claim to be', async () => {
    const send = (contentType: string, body: string) =>
      clientOf(target()).post('/chat/completions', {
        body: Buffer.from(body),
        headers: { 'content-type': contentType },
      });
    const notJson = { type: OpenAI.BadRequestError, status: 400, code: 'invalid_json' };
    await expectError(face, send('application/json', '{"model":'), notJson);
    const notClaimed = { type: OpenAI.APIError, status: 415, code: 'unsupported_media_type' };
    await expectError(face, send('text/plain', '{}'), notClaimed);
  });

  it('402 insufficient_balance when the money does not cover the worst case, whole and streamed', async () => {
    const unpaid = { type: OpenAI.APIError, status: 402, code: 'insufficient_balance' };
    await expectError(face, chat({}, target().poorKey), unpaid);
    await expectError(face, chat({ stream: true }, target().poorKey), unpaid);
  });

  it('413 for a body over the limit', async () => {
    const huge = [{ role: 'user', content: 'x'.repeat(11 << 20) }];
    await expectError(face, chat({ messages: huge }), { type: OpenAI.APIError, status: 413, code: 'body_too_large' });
  });

  it('429 that says when to come back', async () => {
    const untilLimited = async () => {
      for (let i = 0; i < 20; i += 1) await chat({}, target().limitedKey);
    };
    const limited = { type: OpenAI.RateLimitError, status: 429, code: 'rate_limited' };
    const error = await expectError(face, untilLimited(), limited);
    expect(Number(error.headers?.get('retry-after-ms'))).toBeGreaterThan(0);
    expect(error.headers?.get('x-ratelimit-remaining-requests')).toBe('0');
  });

  it('503 when no worker serves the model', async () => {
    const unserved = { type: OpenAI.InternalServerError, status: 503, code: 'no_worker' };
    await expectError(face, chat({ model: target().unservedModel }), unserved);
  });
}
