import type { LiveCall } from './call.ts';
import type { Exchange } from './exchange.ts';
import { badRequest, engineDead, type Failure } from './failure.ts';
import { takeFault } from './faults.ts';
import { withFault } from './faulty-reply.ts';
import { Fields, type JsonObject } from './fields.ts';
import { checkModel } from './generation.ts';
import type { Machine } from './machine.ts';
import { answerTokens, textPromptIds } from './prompt.ts';
import { seededRandom } from './random.ts';
import { falseTruth, type Reply } from './reply.ts';
import type { Job } from './sequence.ts';

type Inputs = readonly (readonly number[])[];

/** `POST /v1/embeddings`: a vector for each input, when all of them went through the engine. */
export function embeddings(machine: Machine, exchange: Exchange, body: JsonObject): void {
  const { settings } = machine;
  const fields = new Fields(body);
  fields.text('model');
  const base64 = fields.text('encoding_format') === 'base64';
  const dimensions = fields.integer('dimensions');
  fields.check();
  checkModel(fields, settings);
  if (dimensions !== null) {
    const hint = `dimensions must be unset (received dimensions=${dimensions}).`;
    throw badRequest(`Model '${settings.model}' does not support Matryoshka embeddings; ${hint}`);
  }
  const inputs = readInputs(machine, body.input);
  machine.admit(countTokens(inputs));
  const rule = takeFault(machine.faults, exchange, body);
  const call = new EmbeddingCall(machine, inputs);
  const reply = new EmbeddingReply(exchange, () =>
    answer(machine, exchange, inputs, { base64, ...falseTruth(rule, settings) }),
  );
  exchange.onHangUp(() => call.leave());
  call.start(rule === null ? reply : withFault(rule, reply, call, exchange, false));
}

/** The inputs of one call on their way through the engine: prompts only, nothing is generated. */
class EmbeddingCall implements LiveCall {
  readonly completionTokens = 0;
  private readonly machine: Machine;
  private readonly jobs: readonly Job[];
  private left: number;
  private reply: Reply | null = null;
  private ended = false;

  constructor(machine: Machine, inputs: Inputs) {
    this.machine = machine;
    this.left = inputs.length;
    this.jobs = inputs.map((promptIds) => ({
      promptIds,
      salt: '',
      priority: 0,
      onScheduled: () => undefined,
      onPreempted: () => undefined,
      sample: () => this.embedded(),
    }));
  }

  start(reply: Reply): void {
    this.reply = reply;
    this.machine.calls.add(this);
    reply.open();
    if (!this.ended) {
      for (const job of this.jobs) {
        this.machine.engine.add(job);
      }
    }
  }

  leave(): void {
    this.ended = true;
    this.machine.calls.delete(this);
    for (const job of this.jobs) {
      this.machine.engine.remove(job);
    }
  }

  fail(failure: Failure): void {
    if (!this.ended) {
      this.leave();
      this.reply?.failed(failure);
    }
  }

  abort(): void {
    this.fail(engineDead());
  }

  mute(): void {
    this.leave();
    this.reply = null;
  }

  private embedded(): { id: null; finished: boolean } {
    this.left -= 1;
    if (this.left === 0 && !this.ended) {
      this.ended = true;
      this.machine.calls.delete(this);
      this.reply?.finished();
    }
    return { id: null, finished: true };
  }
}

/** The answer in one piece; there are no tokens to tell of on the way. */
class EmbeddingReply implements Reply {
  private readonly exchange: Exchange;
  private readonly answer: () => void;

  constructor(exchange: Exchange, answer: () => void) {
    this.exchange = exchange;
    this.answer = answer;
  }

  open(): void {}

  said(): void {}

  pretend(): void {}

  blank(): void {}

  finished(): void {
    this.answer();
  }

  failed(failure: Failure): void {
    this.exchange.fail(failure);
  }

  expelled(): void {
    this.exchange.fail(engineDead());
  }
}

function answer(
  machine: Machine,
  exchange: Exchange,
  inputs: Inputs,
  { base64, model, usageFactor }: { base64: boolean; model: string; usageFactor: number },
): void {
  const tokens = countTokens(inputs) * usageFactor;
  exchange.json(200, {
    id: `embd-${exchange.header('x-request-id') ?? machine.newId()}`,
    object: 'list',
    created: Math.floor(Date.now() / 1000),
    model,
    data: inputs.map((ids, index) => {
      const vector = embed(ids, machine.settings.embeddingDimensions);
      const embedding = base64 ? Buffer.from(vector.buffer).toString('base64') : [...vector];
      return { index, object: 'embedding', embedding };
    }),
    usage: {
      prompt_tokens: tokens,
      total_tokens: tokens,
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

/** An input is a text, a list of texts, a list of ids, or a list of such lists. */
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

function countTokens(inputs: Inputs): number {
  return inputs.reduce((sum, ids) => sum + ids.length, 0);
}
