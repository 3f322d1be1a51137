import type { Choice } from './choice.ts';
import type { CompletionForm } from './completion-form.ts';
import { CompletionStream } from './completion-stream.ts';
import { CompletionWhole } from './completion-whole.ts';
import type { Exchange } from './exchange.ts';
import { badParameter, badRequest } from './failure.ts';
import { Fields, type JsonObject } from './fields.ts';
import { checkModel, checkRank, generate, loadHeaders, type Prompt, readForm } from './generation.ts';
import { promptLogprobs, tokenLogprob } from './logprobs.ts';
import type { Machine } from './machine.ts';
import { answerTokens, checkMaxTokens, textPromptIds, truncate } from './prompt.ts';
import { seededRandom } from './random.ts';
import { checkCombinations, checkLogprobs, checkSampling, readSampling, type Sampling } from './sampling.ts';
import { freeScript, knownScript } from './script.ts';
import { readConstraint } from './structured.ts';

/** What the answer may have when the call does not say: OpenAI's old default, which vLLM keeps. */
const DEFAULT_MAX_TOKENS = 16;

/** `POST /v1/completions`. */
export function completions(machine: Machine, exchange: Exchange, body: JsonObject): void {
  const { settings, tokenizer } = machine;
  const fields = new Fields(body);
  const streaming = fields.boolean('stream') ?? false;
  const asked = fields.integer('max_tokens') ?? DEFAULT_MAX_TOKENS;
  const sampling = readSampling(fields, asked);
  const form = readForm(fields, sampling, settings);
  const topLogprobs = fields.integer('logprobs');
  const echo = fields.boolean('echo') ?? false;
  fields.text('model');
  fields.check();
  checkCombinations(fields, streaming);
  if ((body.suffix ?? '') !== '') {
    throw badRequest('suffix is only supported for models with FIM completion rendering', 'suffix');
  }
  const constraint = readConstraint(fields);
  fields.check();
  const given = readPrompts(body.prompt);
  checkModel(fields, settings);
  checkRank(exchange);
  const prompts = given.map((prompt) => readPrompt(machine, fields, prompt, echo, asked));
  const capTokens = Math.min(...prompts.map((prompt) => prompt.capTokens));
  checkSampling(fields, sampling, capTokens, tokenizer.vocabularySize);
  checkLogprobs(topLogprobs);
  constraint?.(seededRandom(0));
  const completionForm = makeForm(machine, sampling, topLogprobs, echo, asked);
  generate(machine, exchange, {
    idPrefix: 'cmpl',
    body,
    prompts,
    sampling,
    topLogprobs,
    streaming,
    form,
    script: (seed) => {
      const random = seededRandom(seed);
      const text = constraint?.(random) ?? null;
      return text === null
        ? freeScript(tokenizer, random, sampling.minTokens, sampling.ignoreEnd)
        : knownScript(tokenizer, text, { reasoning: false, calls: false });
    },
    reply: (parts) =>
      streaming
        ? new CompletionStream(exchange, parts, completionForm)
        : new CompletionWhole(exchange, parts, completionForm, () => loadHeaders(machine, exchange)),
  });
}

/** A prompt is a text, a list of texts, a list of ids, or a list of such lists. */
function readPrompts(given: unknown): readonly (string | readonly number[])[] {
  if (given === undefined || given === null || given === '') {
    throw badParameter('Either prompt or prompt_embeds must be provided and non-empty.', 'prompt');
  }
  if (typeof given === 'string') {
    return [given];
  }
  if (!Array.isArray(given) || given.length === 0) {
    throw badRequest('You must pass at least one prompt');
  }
  if (given.every((item): item is number => typeof item === 'number')) {
    return [given];
  }
  return given.map((item: unknown) => {
    if (typeof item === 'string') {
      return item;
    }
    if (Array.isArray(item) && item.every((id): id is number => typeof id === 'number')) {
      return item;
    }
    throw badRequest('Each prompt must be a string or a list of token ids');
  });
}

function readPrompt(
  { tokenizer, settings: { contextLength } }: Machine,
  fields: Fields,
  given: string | readonly number[],
  echo: boolean,
  asked: number,
): Prompt {
  const whole = typeof given === 'string' ? textPromptIds(tokenizer, contextLength, given) : [...given];
  const unknown = whole.find((id) => !(id >= 0 && id < tokenizer.vocabularySize));
  if (unknown !== undefined) {
    throw badRequest(`Token id ${unknown} is out of vocabulary`);
  }
  const ids = truncate(whole, fields.integer('truncate_prompt_tokens'), contextLength);
  checkMaxTokens(asked, echo ? 0 : 1);
  return { ids, capTokens: answerTokens(ids.length, Math.max(asked, 1), contextLength) };
}

function makeForm(
  { tokenizer }: Machine,
  sampling: Sampling,
  topLogprobs: number | null,
  echo: boolean,
  asked: number,
): CompletionForm {
  const top = sampling.promptLogprobs ?? (echo ? topLogprobs : null);
  return {
    echo: echo ? ({ promptIds }: Choice) => tokenizer.decode(promptIds) : null,
    echoLogprobs:
      echo && topLogprobs !== null
        ? ({ promptIds }: Choice) => ({
            logprobs: promptIds.map((id, at) => (at === 0 ? null : tokenLogprob(tokenizer, id, at, topLogprobs))),
            texts: promptIds.map((id) => tokenizer.decode([id])),
          })
        : null,
    echoOnly: echo && asked === 0,
    promptLogprobs: ({ promptIds }: Choice) => (top === null ? null : promptLogprobs(tokenizer, promptIds, top)),
  };
}
