import type { Exchange } from './exchange.ts';
import { badRequest } from './failure.ts';
import { refusal } from './faults.ts';
import { Fields, type JsonObject } from './fields.ts';
import { checkModel } from './generation.ts';
import type { Machine } from './machine.ts';
import { answerTokens, textPromptIds } from './prompt.ts';
import { seededRandom } from './random.ts';

/** `POST /v1/embeddings`: a vector for each input, when all of them went through the engine. */
export function embeddings(machine: Machine, exchange: Exchange, body: JsonObject): void {
  const { settings } = machine;
  const fields = new Fields(body);
  fields.text('model');
  const format = fields.text('encoding_format') ?? 'float';
  const dimensions = fields.integer('dimensions');
  fields.check();
  checkModel(fields, settings);
  if (dimensions !== null) {
    const hint = `dimensions must be unset (received dimensions=${dimensions}).`;
    throw badRequest(`Model '${settings.model}' does not support Matryoshka embeddings; ${hint}`);
  }
  const inputs = readInputs(machine, body.input);
  const rule = machine.faults.take(exchange, body);
  const refused = rule === null ? null : refusal(rule);
  if (refused !== null) {
    throw refused;
  }
  machine.admit(inputs.reduce((sum, ids) => sum + ids.length, 0));
  embedAll(machine, exchange, inputs, () => answer(machine, exchange, inputs, format === 'base64'));
}

function embedAll(
  machine: Machine,
  exchange: Exchange,
  inputs: readonly (readonly number[])[],
  done: () => void,
): void {
  let left = inputs.length;
  const jobs = inputs.map((promptIds) => ({
    promptIds,
    salt: '',
    priority: 0,
    onScheduled: () => undefined,
    onPreempted: () => undefined,
    sample: () => {
      left -= 1;
      if (left === 0) {
        done();
      }
      return { id: null, finished: true };
    },
  }));
  exchange.onHangUp(() => {
    for (const job of jobs) {
      machine.engine.remove(job);
    }
  });
  for (const job of jobs) {
    machine.engine.add(job);
  }
}

function answer(machine: Machine, exchange: Exchange, inputs: readonly (readonly number[])[], base64: boolean): void {
  const prompt = inputs.reduce((sum, ids) => sum + ids.length, 0);
  exchange.json(200, {
    id: `embd-${exchange.header('x-request-id') ?? machine.newId()}`,
    object: 'list',
    created: Math.floor(Date.now() / 1000),
    model: machine.settings.model,
    data: inputs.map((ids, index) => {
      const vector = embed(ids, machine.settings.embeddingDimensions);
      const embedding = base64 ? Buffer.from(vector.buffer).toString('base64') : [...vector];
      return { index, object: 'embedding', embedding };
    }),
    usage: {
      prompt_tokens: prompt,
      total_tokens: prompt,
      completion_tokens: 0,
      prompt_tokens_details: null,
      completion_tokens_details: null,
    },
  });
}

/** A unit vector: the sum of one random direction per token, so that texts with common words lie close. */
function embed(ids: readonly number[], dimensions: number): Float32Array {
  const sum = new Float64Array(dimensions);
  for (const id of ids) {
    const random = seededRandom(id);
    for (let at = 0; at < dimensions; at += 1) {
      sum[at] = (sum[at] ?? 0) + random() - 0.5;
    }
  }
  const length = Math.hypot(...sum) || 1;
  return Float32Array.from(sum, (value) => value / length);
}

function readInputs({ tokenizer, settings: { contextLength } }: Machine, input: unknown): number[][] {
  const list = Array.isArray(input) ? input : [input];
  const prompts: unknown[] = list.length > 0 && list.every((item) => typeof item === 'number') ? [list] : list;
  if (prompts.length === 0) {
    throw badRequest('You must pass at least one prompt');
  }
  return prompts.map((prompt) => {
    const ids = Array.isArray(prompt)
      ? prompt.map(Number)
      : textPromptIds(tokenizer, contextLength, String(prompt ?? ''));
    answerTokens(ids.length, null, contextLength + 1);
    return ids;
  });
}
