import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Simulator, startSimulator } from './server.ts';

let simulator: Simulator;

beforeAll(async () => {
  simulator = await startSimulator({ prefillTokensPerSecond: 1e6, decodeBaseMs: 0, decodePerRequestMs: 0 });
});

afterAll(() => simulator.close());

interface Answer {
  readonly choices: readonly {
    readonly text: string;
    readonly finish_reason: string;
    readonly stop_reason: unknown;
    readonly logprobs: { content: { token: string; top_logprobs: unknown[] }[] } | null;
    readonly message: {
      readonly content: string | null;
      readonly tool_calls?: readonly { function: { name: string; arguments: string } }[];
    };
  }[];
  readonly usage: {
    prompt_tokens: number;
    completion_tokens: number;
    prompt_tokens_details: { cached_tokens: number };
  };
}

async function post(path: string, body: object): Promise<Answer> {
  const response = await fetch(simulator.url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  const answer: Answer & { error?: { message: string } } = JSON.parse(await response.text());
  if (answer.error !== undefined) {
    throw new Error(answer.error.message);
  }
  return answer;
}

const say = (content: string): object[] => [{ role: 'user', content }];
const chat = (more: object = {}): Promise<Answer> =>
  post('/v1/chat/completions', { messages: say('Tell me something'), max_tokens: 40, ...more });

async function streamed(more: object): Promise<string> {
  const response = await fetch(`${simulator.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ messages: say('Tell me something'), max_tokens: 40, stream: true, ...more }),
  });
  const events = (await response.text()).split('\n\n').filter((event) => event.startsWith('data: {'));
  return events.map((event) => JSON.parse(event.slice('data: '.length)).choices[0]?.delta.content ?? '').join('');
}

const textOf = ({ choices }: Answer): string => choices[0]?.message.content ?? '';

async function count(text: string): Promise<number> {
  const response = await fetch(`${simulator.url}/tokenize`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ prompt: text }),
  });
  return ((await response.json()) as { count: number }).count;
}

describe('text', () => {
  test('is the same for the same seed and prompt, streamed or whole, and another for another', async () => {
    const text = textOf(await chat({ seed: 5 }));
    expect(textOf(await chat({ seed: 5 }))).toBe(text);
    expect(await streamed({ seed: 5 })).toBe(text);
    expect(textOf(await chat({ seed: 6 }))).not.toBe(text);
    expect(textOf(await chat({ seed: 5, messages: say('Something else') }))).not.toBe(text);
  });

  test('is the same without a seed only when greedy', async () => {
    expect(textOf(await chat({ temperature: 0 }))).toBe(textOf(await chat({ temperature: 0 })));
    expect(textOf(await chat())).not.toBe(textOf(await chat()));
  });

  test('has as many tokens as usage says, the end mark included', async () => {
    for (const seed of [1, 2, 3, 4]) {
      const answer = await chat({ seed, max_tokens: 1000 });
      expect(answer.choices[0]?.finish_reason).toBe('stop');
      expect(answer.usage.completion_tokens).toBe((await count(textOf(answer))) + 1);
    }
  });

  test('comes whole through a stream although some characters are several tokens', async () => {
    const texts = await Promise.all(Array.from({ length: 20 }, (_, seed) => streamed({ seed, max_tokens: 900 })));
    const wholes = await Promise.all(Array.from({ length: 20 }, (_, seed) => chat({ seed, max_tokens: 900 })));
    expect(texts).toEqual(wholes.map(textOf));
    expect(texts.join('')).toContain('🚆');
    expect(texts.join('')).not.toContain('\uFFFD');
  });

  test('of several choices differs, and usage counts them all and the prompt once', async () => {
    const answer = await chat({ n: 3, seed: 1, max_tokens: 5 });
    expect(new Set(answer.choices.map(({ message }) => message.content)).size).toBe(3);
    expect(answer.usage).toMatchObject({
      completion_tokens: 15,
      prompt_tokens: (await chat({ max_tokens: 1 })).usage.prompt_tokens,
    });
  });
});

describe('an answer ends', () => {
  test('at max_tokens, at the rest of the context, or not before min_tokens', async () => {
    expect((await chat({ max_tokens: 7 })).usage.completion_tokens).toBe(7);
    expect(
      (await chat({ max_tokens: 8000, ignore_eos: true, messages: say('word '.repeat(1000)) })).usage.completion_tokens,
    ).toBeLessThan(7200);
    expect((await chat({ max_tokens: 1000, min_tokens: 400 })).usage.completion_tokens).toBeGreaterThanOrEqual(400);
  });

  test('at a stop text, which is left out or kept as asked', async () => {
    const whole = textOf(await chat({ seed: 3 }));
    const stop = whole.slice(20, 27);
    const cut = await chat({ seed: 3, stop: [stop] });
    expect(textOf(cut)).toBe(whole.slice(0, whole.indexOf(stop)));
    expect(cut.choices[0]).toMatchObject({ finish_reason: 'stop', stop_reason: stop });
    expect(textOf(await chat({ seed: 3, stop, include_stop_str_in_output: true }))).toBe(textOf(cut) + stop);
    expect(await streamed({ seed: 3, stop })).toBe(textOf(cut));
  });

  test('at the earliest of several stop texts, and not at one that only begins', async () => {
    const whole = textOf(await chat({ seed: 4 }));
    const stops = [whole.slice(30, 34), whole.slice(12, 15), `${whole.slice(5, 10)}#`];
    expect(textOf(await chat({ seed: 4, stop: stops }))).toBe(whole.slice(0, whole.indexOf(stops[1] ?? '')));
    expect(await streamed({ seed: 4, stop: [`${whole.slice(-10)}#`] })).toBe(whole);
  });

  test('at a stop token', async () => {
    const { tokens } = (await (
      await fetch(`${simulator.url}/tokenize`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ prompt: textOf(await chat({ seed: 8 })) }),
      })
    ).json()) as { tokens: number[] };
    const answer = await chat({ seed: 8, stop_token_ids: [tokens[4]] });
    expect(answer.choices[0]?.stop_reason).toBe(tokens[4]);
    expect(answer.usage.completion_tokens).toBeLessThanOrEqual(5);
  });
});

const WEATHER = {
  type: 'function',
  function: {
    name: 'get_weather',
    description: 'Weather of a city',
    parameters: {
      type: 'object',
      properties: { city: { type: 'string', enum: ['Oslo', 'Lima'] } },
      required: ['city'],
      additionalProperties: false,
    },
  },
};

describe('tools', () => {
  test('are called when they must be, with arguments that fit', async () => {
    const named = { type: 'function', function: { name: 'get_weather' } };
    for (const [choice, finish] of [
      ['required', 'tool_calls'],
      [named, 'stop'],
    ]) {
      const answer = await chat({ tools: [WEATHER], tool_choice: choice, max_tokens: 200 });
      const [call] = answer.choices[0]?.message.tool_calls ?? [];
      expect(call?.function.name).toBe('get_weather');
      expect(['Oslo', 'Lima']).toContain(JSON.parse(call?.function.arguments ?? '').city);
      expect(answer.choices[0]?.finish_reason).toBe(finish);
    }
  });

  test('are called by choice when the user speaks of them, and only then', async () => {
    const ask = async (content: string) =>
      (await chat({ tools: [WEATHER], messages: say(content), max_tokens: 200 })).choices[0]?.finish_reason;
    expect(await ask('How is the weather in Lima?')).toBe('tool_calls');
    expect(await ask('Please run get_weather')).toBe('tool_calls');
    expect(await ask('Hello there')).not.toBe('tool_calls');
  });

  test('are answered in words once their result is there', async () => {
    const call = { id: 'c1', type: 'function', function: { name: 'get_weather', arguments: '{"city":"Oslo"}' } };
    const messages = [
      ...say('How is the weather?'),
      { role: 'assistant', content: null, tool_calls: [call] },
      { role: 'tool', tool_call_id: 'c1', content: 'rain' },
    ];
    const answer = await chat({ tools: [WEATHER], messages, max_tokens: 200 });
    expect(answer.choices[0]?.message.tool_calls).toBeUndefined();
    expect(textOf(answer)).not.toBe('');
  });

  test('that the limit cuts off leave raw text and finish with length', async () => {
    const answer = await chat({ tools: [WEATHER], tool_choice: 'required', max_tokens: 15 });
    expect(answer.choices[0]?.finish_reason).toBe('length');
    expect(textOf(answer)).toContain('<tool_call>');
  });
});

describe('structured outputs', () => {
  test('keep to a schema, a choice or a pattern', async () => {
    const schema = { type: 'object', properties: { n: { type: 'integer', minimum: 3, maximum: 5 } }, required: ['n'] };
    const format = { type: 'json_schema', json_schema: { name: 'x', schema } };
    const object = JSON.parse(textOf(await chat({ response_format: format, max_tokens: 100 })));
    expect([3, 4, 5]).toContain(object.n);
    expect(['yes', 'no']).toContain(textOf(await chat({ structured_outputs: { choice: ['yes', 'no'] } })));
    expect(textOf(await chat({ structured_outputs: { regex: '[a-c]{4}-\\d+' } }))).toMatch(/^[a-c]{4}-\d+$/);
    expect(JSON.parse(textOf(await chat({ response_format: { type: 'json_object' }, max_tokens: 100 })))).toBeTypeOf(
      'object',
    );
  });

  test('that cannot be are refused', async () => {
    await expect(chat({ structured_outputs: { regex: '(?=a)b' } })).rejects.toThrow('look-around');
    await expect(chat({ structured_outputs: { grammar: 'root ::= "a"' } })).rejects.toThrow('not simulated');
  });
});

test('logprobs come for each token, with the token itself among the alternatives', async () => {
  const answer = await chat({ logprobs: true, top_logprobs: 3, max_tokens: 5, seed: 2 });
  const { content } = answer.choices[0]?.logprobs ?? { content: [] };
  expect(content.map(({ token }) => token).join('')).toBe(textOf(answer));
  expect(content.map(({ top_logprobs }) => top_logprobs.length)).toEqual([3, 3, 3, 3, 3]);
});

test('completions answer each of several prompts, and echo them when asked', async () => {
  const answer = await post('/v1/completions', { prompt: ['One', 'Two'], max_tokens: 4, echo: true });
  expect(answer.choices.map(({ text }) => text.slice(0, 3))).toEqual(['One', 'Two']);
  expect(answer.usage).toMatchObject({ prompt_tokens: 2, completion_tokens: 8 });
});

test('a conversation that goes on finds its beginning cached, but not under another salt', async () => {
  const messages = say('A rather long beginning. '.repeat(30));
  await chat({ messages, cache_salt: 'a' });
  const next = [...messages, { role: 'assistant', content: 'Yes.' }, ...say('And then?')];
  const [same, other] = [
    await chat({ messages: next, cache_salt: 'a' }),
    await chat({ messages: next, cache_salt: 'b' }),
  ];
  expect(same.usage.prompt_tokens_details.cached_tokens).toBeGreaterThan(100);
  expect(other.usage.prompt_tokens_details.cached_tokens).toBe(0);
});
