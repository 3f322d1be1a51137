/** The three inference endpoints as /openapi.json shows them; completions.ts serves them. */
import { z } from 'zod';
import { inferencePaths } from './completions.ts';
import { providerOption } from './provider-fields.ts';
import type { RouteDescription } from './route.ts';
import { modelName, money } from './route-schemas.ts';

const sampling = {
  model: modelName,
  provider: providerOption.describe(
    'which worker may serve, and what is best; also as JSON in the header x-faregate-provider',
  ),
  stream: z.boolean().optional(),
  stream_options: z.strictObject({ include_usage: z.boolean().optional() }).loose().optional(),
  max_tokens: z.int().min(1).optional().describe('never lowered: a call that is too dear is refused'),
  n: z.int().min(1).optional(),
  temperature: z.number().optional(),
  top_p: z.number().optional(),
  seed: z.int().optional(),
  stop: z.union([z.string(), z.array(z.string())]).optional(),
};

const usage = z.looseObject({
  prompt_tokens: z.int(),
  completion_tokens: z.int().optional(),
  total_tokens: z.int(),
  cost: z.number().describe('the charge in USD, an exact decimal'),
  faregate: z.looseObject({ call: z.string(), charged_nanousd: money, held_nanousd: money }),
});

const answer = { id: z.string(), object: z.string(), created: z.int(), model: z.string() };

const usageExample = {
  prompt_tokens: 31,
  completion_tokens: 8,
  total_tokens: 39,
  cost: 0.0000382,
  faregate: {
    call: '0198f3a5-6b70-7c81-9d92-a3b4c5d6e7f8',
    charged_nanousd: '38200',
    held_nanousd: '12192000',
    queue_ms: 0,
    ttft_ms: 92,
    total_ms: 1_282,
    worker: 'wrk_0198f3a27c4b7d1e9a6b2c3d4e5f6071',
    region: 'eu-north',
  },
};

const answerExample = { created: 1_756_434_361, model: 'meta-llama/Llama-3.1-8B-Instruct' };

const chat: RouteDescription = {
  method: 'post',
  path: inferencePaths.chat,
  summary: 'Chat with a model, as OpenAI; the fields of vLLM for sampling and output pass too.',
  security: 'agent',
  body: z.looseObject({
    ...sampling,
    messages: z.array(z.looseObject({ role: z.string() })).min(1),
    max_completion_tokens: z.int().min(1).optional(),
    tools: z.array(z.looseObject({ type: z.string() })).optional(),
  }),
  response: z.looseObject({
    ...answer,
    choices: z.array(
      z.looseObject({ index: z.int(), message: z.looseObject({ role: z.string() }), finish_reason: z.string() }),
    ),
    usage,
  }),
  streams: true,
  example: {
    body: {
      model: answerExample.model,
      messages: [{ role: 'user', content: 'What is a fare gate?' }],
      max_tokens: 100,
    },
    response: {
      id: 'chatcmpl-0198f3a5-6b70-7c81-9d92-a3b4c5d6e7f8',
      object: 'chat.completion',
      ...answerExample,
      choices: [
        {
          index: 0,
          message: { role: 'assistant', content: 'It opens when the fare is paid.' },
          finish_reason: 'stop',
        },
      ],
      usage: usageExample,
    },
  },
};

const completion: RouteDescription = {
  method: 'post',
  path: inferencePaths.completion,
  summary: 'Complete a text, as OpenAI.',
  security: 'agent',
  body: z.looseObject({ ...sampling, prompt: z.union([z.string(), z.array(z.unknown()).min(1)]) }),
  response: z.looseObject({
    ...answer,
    choices: z.array(z.looseObject({ index: z.int(), text: z.string(), finish_reason: z.string() })),
    usage,
  }),
  streams: true,
  example: {
    body: { model: answerExample.model, prompt: 'A fare gate is', max_tokens: 16 },
    response: {
      id: 'cmpl-0198f3a5-6b70-7c81-9d92-a3b4c5d6e7f8',
      object: 'text_completion',
      ...answerExample,
      choices: [{ index: 0, text: ' a gate that opens for a fare.', finish_reason: 'stop' }],
      usage: usageExample,
    },
  },
};

const embedding: RouteDescription = {
  method: 'post',
  path: inferencePaths.embedding,
  summary: 'Turn texts into vectors, as OpenAI.',
  security: 'agent',
  body: z.looseObject({
    model: modelName,
    provider: providerOption.describe(
      'which worker may serve, and what is best; also as JSON in the header x-faregate-provider',
    ),
    input: z.union([z.string(), z.array(z.unknown()).min(1)]),
    encoding_format: z.enum(['float', 'base64']).optional(),
  }),
  response: z.looseObject({
    object: z.literal('list'),
    data: z.array(
      z.looseObject({ index: z.int(), embedding: z.union([z.array(z.number()), z.string()]), object: z.string() }),
    ),
    model: z.string(),
    usage,
  }),
  example: {
    body: { model: 'BAAI/bge-small-en-v1.5', input: ['A fare gate opens when the fare is paid.'] },
    response: {
      object: 'list',
      data: [{ object: 'embedding', index: 0, embedding: [0.0123, -0.0456, 0.0789] }],
      model: 'BAAI/bge-small-en-v1.5',
      usage: { ...usageExample, completion_tokens: 0, total_tokens: 31 },
    },
  },
};

export const inferenceDescriptions: readonly RouteDescription[] = [chat, completion, embedding];
