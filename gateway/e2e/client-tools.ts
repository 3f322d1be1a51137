import type OpenAI from 'openai';
import { beforeAll, describe, expect, it } from 'vitest';
import { beyondOpenAi, type ClientTarget, clientOf, hello } from './client-target.ts';

const weather: OpenAI.ChatCompletionFunctionTool = {
  type: 'function',
  function: {
    name: 'get_weather',
    description: 'Weather of a city',
    strict: true, // without it vLLM only promises JSON
    parameters: {
      type: 'object',
      properties: { city: { type: 'string', enum: ['Oslo', 'Lima'] } },
      required: ['city'],
      additionalProperties: false,
    },
  },
};

/** Makes any model call the tool of its own accord, in the words that the hermes parser reads. */
const saysToolCall = beyondOpenAi({
  structured_outputs: {
    regex: '<tool_call>\\n\\{"name": "get_weather", "arguments": \\{"city": "Oslo"\\}\\}\\n</tool_call>',
  },
});

const named: OpenAI.ChatCompletionNamedToolChoice = { type: 'function', function: { name: 'get_weather' } };

/** Tool calls: demanded, named, of the model's own accord, streamed, and answered. */
export function declareTools(target: () => ClientTarget): void {
  describe('tools with the stock client', () => {
    let openai: OpenAI;
    beforeAll(() => {
      openai = clientOf(target());
    });
    const asking = () => ({ ...hello(target()), tools: [weather], max_tokens: 100 });

    it.each([
      ['demanded', 'required' as const],
      ['named', named],
    ])('calls a %s tool with arguments of its schema', async (_, tool_choice) => {
      const answer = await openai.chat.completions.create({ ...asking(), tool_choice });
      expectWeatherCall(answer.choices[0]?.message.tool_calls);
    });

    it('calls a tool of its own accord and says so in the finish reason', async () => {
      const answer = await openai.chat.completions.create({ ...asking(), ...saysToolCall });
      expectWeatherCall(answer.choices[0]?.message.tool_calls);
      expect(answer.choices[0]?.finish_reason).toBe('tool_calls');
    });

    it('streams a tool call that assembles to the whole', async () => {
      const streamed = await openai.chat.completions.stream({ ...asking(), ...saysToolCall }).finalChatCompletion();
      expectWeatherCall(streamed.choices[0]?.message.tool_calls);
      expect(streamed.choices[0]?.finish_reason).toBe('tool_calls');
    });

    it('calls nothing when tools are forbidden', async () => {
      const answer = await openai.chat.completions.create({ ...asking(), tool_choice: 'none' });
      expect(answer.choices[0]?.message.tool_calls ?? []).toEqual([]);
    });

    it('takes the result of a tool in the next turn', async () => {
      const call = {
        id: 'call_1',
        type: 'function' as const,
        function: { name: 'get_weather', arguments: '{"city":"Oslo"}' },
      };
      const answer = await openai.chat.completions.create({
        ...asking(),
        messages: [
          { role: 'user', content: 'How is the weather in Oslo?' },
          { role: 'assistant', content: null, tool_calls: [call] },
          { role: 'tool', tool_call_id: 'call_1', content: 'sunny' },
        ],
        tool_choice: 'none',
      });
      expect(answer.choices[0]?.message.content).not.toBe('');
    });
  });
}

function expectWeatherCall(calls: OpenAI.ChatCompletionMessageToolCall[] | undefined) {
  const call = calls?.[0];
  if (call?.type !== 'function') expect.fail('there should be a function call');
  expect(call.id).not.toBe('');
  expect(call.function.name).toBe('get_weather');
  expect(['Oslo', 'Lima']).toContain(JSON.parse(call.function.arguments).city);
}
