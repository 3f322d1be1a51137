import type { ChatForm } from './chat-form.ts';
import { ChatStream } from './chat-stream.ts';
import { ChatWhole } from './chat-whole.ts';
import type { Exchange } from './exchange.ts';
import { badParameter, badRequest } from './failure.ts';
import { describe, Fields, isObject, type JsonObject } from './fields.ts';
import { checkModel, checkRank, generate, loadHeaders, type Prompt, readForm } from './generation.ts';
import { promptLogprobs } from './logprobs.ts';
import type { Machine } from './machine.ts';
import { answerTokens, chatPromptIds, checkMaxTokens, checkParts, truncate } from './prompt.ts';
import { type Random, seededRandom } from './random.ts';
import { checkCombinations, checkLogprobs, checkSampling, readSampling, type Sampling } from './sampling.ts';
import { freeScript, knownScript, reasonedScript, type Script } from './script.ts';
import { type Constraint, readConstraint } from './structured.ts';
import { checkToolParser, readTools, type ToolUse, toolCallText } from './tools.ts';

/** `POST /v1/chat/completions`. */
export function chat(machine: Machine, exchange: Exchange, body: JsonObject): void {
  const { settings, tokenizer } = machine;
  const fields = new Fields(body);
  const streaming = fields.boolean('stream') ?? false;
  const messages = readMessages(fields);
  const asked = fields.integer('max_completion_tokens') ?? fields.integer('max_tokens');
  const sampling = readSampling(fields, asked);
  const form = readForm(fields, sampling, settings);
  const topLogprobs = readTopLogprobs(fields);
  fields.text('model');
  fields.check();
  checkCombinations(fields, streaming);
  const constraint = readConstraint(fields);
  const use = readTools(fields);
  fields.check();
  checkModel(fields, settings);
  checkRank(exchange);
  checkMessages(fields, messages, settings.model);
  checkToolParser(use, settings.toolParser);
  const prompt = readPrompt(machine, fields, messages, use, asked);
  checkSampling(fields, sampling, prompt.capTokens, tokenizer.vocabularySize);
  checkLogprobs(topLogprobs);
  const ways: Ways = { machine, sampling, constraint, use, messages };
  proveScript(ways, prompt);
  const chatForm = readChatForm(machine, fields, sampling, use, prompt);
  generate(machine, exchange, {
    idPrefix: 'chatcmpl',
    body,
    prompts: [prompt],
    sampling,
    topLogprobs,
    streaming,
    form,
    script: (seed) => chatScript(ways, seededRandom(seed)),
    reply: (parts) =>
      streaming
        ? new ChatStream(exchange, parts, chatForm)
        : new ChatWhole(exchange, parts, chatForm, () => loadHeaders(machine, exchange)),
  });
}

/** What decides what the model says. */
interface Ways {
  readonly machine: Machine;
  readonly sampling: Sampling;
  readonly constraint: Constraint;
  readonly use: ToolUse | null;
  readonly messages: readonly JsonObject[];
}

function chatScript({ machine, sampling, constraint, use, messages }: Ways, random: Random): Script {
  const { tokenizer, settings } = machine;
  const parse = {
    reasoning: settings.reasoningParser,
    calls: settings.toolParser && use !== null && use.mode !== 'none',
  };
  const text = constraint?.(random) ?? (use === null ? null : toolCallText(use, messages, random));
  const known =
    text === null ? null : knownScript(tokenizer, text, { ...parse, calls: parse.calls || use?.mode === 'named' });
  const answer = known ?? freeScript(tokenizer, random, sampling.minTokens, sampling.ignoreEnd);
  const reasons = settings.reasoningParser && !(text?.includes('</think>') ?? false);
  return reasons ? reasonedScript(tokenizer, random, answer) : answer;
}

/** Writes the answer once for nothing, so that impossible schemas and patterns are refused before the call is accepted. */
function proveScript(ways: Ways, { ids }: Prompt): void {
  const random = seededRandom(ids.length);
  ways.constraint?.(random);
  if (ways.use !== null) {
    toolCallText(ways.use, ways.messages, random);
  }
}

function readMessages(fields: Fields): readonly JsonObject[] {
  const list = fields.list('messages');
  if (list === null && (fields.body.messages ?? null) === null) {
    fields.missing('messages');
  }
  return (list ?? []).flatMap((message, at) => {
    const place = `messages.${at}.ChatCompletionDeveloperMessageParam`;
    if (!isObject(message)) {
      fields.reject(place, 'dict_type', 'Input should be a valid dictionary', describe(message));
      return [];
    }
    if (message.role === undefined) {
      fields.reject(`${place}.role`, 'missing', 'Field required', describe(message));
    }
    const { content } = message;
    if (content !== undefined && content !== null && typeof content !== 'string' && !Array.isArray(content)) {
      fields.reject(`${place}.content`, 'string_type', 'Input should be a valid string', describe(content));
    }
    return [message];
  });
}

function checkMessages(fields: Fields, messages: readonly JsonObject[], model: string): void {
  if ((fields.body.chat_template ?? null) !== null) {
    throw badRequest(
      'Chat template is passed with request, but --trust-request-chat-template is not set. ' +
        'Refused request with untrusted chat template.',
    );
  }
  if (fields.boolean('continue_final_message') === true && fields.boolean('add_generation_prompt') === true) {
    throw badRequest('Cannot set both `continue_final_message` and `add_generation_prompt` to True.');
  }
  if (messages.length === 0) {
    throw badRequest('Cannot apply chat template to an empty conversation. Provide at least one message.');
  }
  checkParts(messages, model);
}

function readPrompt(
  { tokenizer, settings: { contextLength } }: Machine,
  fields: Fields,
  messages: readonly JsonObject[],
  use: ToolUse | null,
  asked: number | null,
): Prompt {
  const unfinished = fields.boolean('continue_final_message') ?? false;
  const open = fields.boolean('add_generation_prompt') ?? true;
  const whole = chatPromptIds(tokenizer, contextLength, messages, use?.tools ?? null, { open, unfinished });
  const ids = truncate(whole, fields.integer('truncate_prompt_tokens'), contextLength);
  checkMaxTokens(asked, 1);
  return { ids, capTokens: answerTokens(ids.length, asked, contextLength) };
}

function readTopLogprobs(fields: Fields): number | null {
  const wanted = fields.boolean('logprobs') ?? false;
  const top = fields.integer('top_logprobs');
  if ((top ?? 0) > 0 && !wanted) {
    throw badParameter('when using `top_logprobs`, `logprobs` must be set to true.', 'top_logprobs');
  }
  return wanted ? (top ?? 0) : null;
}

function readChatForm(
  machine: Machine,
  fields: Fields,
  sampling: Sampling,
  use: ToolUse | null,
  prompt: Prompt,
): ChatForm {
  const echoed = (fields.boolean('echo') ?? false) ? (fields.integer('top_logprobs') ?? 0) : null;
  const top = sampling.promptLogprobs ?? echoed;
  return {
    includeReasoning: fields.boolean('include_reasoning') ?? true,
    namedTool: use?.mode === 'named',
    forcedTool: use?.mode === 'named' || use?.mode === 'required',
    promptLogprobs: top === null ? null : promptLogprobs(machine.tokenizer, prompt.ids, top),
    newId: () => machine.newId(),
  };
}
