import { Call } from './call.ts';
import { Choice } from './choice.ts';
import type { Exchange } from './exchange.ts';
import { badRequest, unknownModel } from './failure.ts';
import { type FaultRule, takeFault } from './faults.ts';
import { withFault } from './faulty-reply.ts';
import type { Fields, JsonObject } from './fields.ts';
import type { Machine } from './machine.ts';
import type { Settings } from './options.ts';
import { hashIds } from './random.ts';
import { type Form, falseTruth, type Identity, type Reply, type ReplyParts } from './reply.ts';
import type { Sampling } from './sampling.ts';
import type { Script } from './script.ts';

/** One prompt of a call and how long its answer may be. */
export interface Prompt {
  readonly ids: readonly number[];
  readonly capTokens: number;
}

/** Everything that is known about a checked call before it is accepted. */
export interface Plan {
  readonly idPrefix: 'chatcmpl' | 'cmpl';
  readonly body: JsonObject;
  readonly prompts: readonly Prompt[];
  readonly sampling: Sampling;
  readonly topLogprobs: number | null;
  readonly streaming: boolean;
  /** What a choice says, by its seed. */
  readonly script: (seed: number) => Script;
  readonly reply: (parts: ReplyParts) => Reply;
  readonly form: Omit<Form, 'prompts'>;
}

/** Refuses a call for a model that is not served here. */
export function checkModel(fields: Fields, settings: Settings): void {
  const model = fields.text('model');
  if (model !== null && model !== settings.model) {
    throw unknownModel(model, settings.model);
  }
}

/** Refuses a data-parallel rank that does not exist; there is one. */
export function checkRank(exchange: Exchange): void {
  const rank = Number(exchange.header('x-data-parallel-rank') ?? 0);
  if (Number.isInteger(rank) && rank !== 0) {
    throw badRequest(`data_parallel_rank ${rank} is out of range [0, 1).`);
  }
}

/** Reads what the caller asked about the form of the answer. */
export function readForm(fields: Fields, sampling: Sampling, settings: Settings): Omit<Form, 'prompts'> {
  const options = fields.within('stream_options');
  const forced = settings.forceIncludeUsage;
  const includeUsage = forced || (options?.boolean('include_usage') ?? false);
  return {
    includeUsage,
    continuousUsage: forced || (includeUsage && (options?.boolean('continuous_usage_stats') ?? false)),
    streamInterval: sampling.streamInterval ?? settings.streamInterval,
    returnTokenIds: sampling.returnTokenIds,
  };
}

/** Accepts a checked call and answers it. */
export function generate(machine: Machine, exchange: Exchange, plan: Plan): void {
  machine.admit(plan.prompts.reduce((sum, { ids }) => sum + ids.length, 0));
  const rule = takeFault(machine.faults, exchange, plan.body);
  const call = new Call(machine.engine, (ended) => machine.calls.delete(ended));
  const choices = makeChoices(machine, plan, call);
  const parts: ReplyParts = {
    identity: makeIdentity(machine, exchange, plan, rule),
    form: { ...plan.form, prompts: plan.prompts.length },
    choices,
    settings: machine.settings,
  };
  const reply = plan.reply(parts);
  machine.calls.add(call);
  exchange.onHangUp(() => call.leave());
  call.start(choices, rule === null ? reply : withFault(rule, reply, call, exchange, plan.streaming));
}

/** The load header that a caller of a whole answer may ask for. */
export function loadHeaders(machine: Machine, exchange: Exchange): Record<string, string> {
  const format = exchange.header('endpoint-load-metrics-format')?.toUpperCase();
  const waiting = machine.engine.waitingCount.toFixed(1);
  const usage = machine.pool.usage === 0 ? '0.0' : String(machine.pool.usage);
  if (format === 'JSON') {
    const metrics = `{"named_metrics": {"num_requests_waiting": ${waiting}, "kv_cache_usage_perc": ${usage}}}`;
    return { 'endpoint-load-metrics': `JSON ${metrics}` };
  }
  if (format === 'TEXT') {
    const metrics = `named_metrics.num_requests_waiting=${waiting}, named_metrics.kv_cache_usage_perc=${usage}`;
    return { 'endpoint-load-metrics': `TEXT ${metrics}` };
  }
  return {};
}

function makeChoices(
  machine: Machine,
  { prompts, sampling, topLogprobs, streaming, script }: Plan,
  call: Call,
): Choice[] {
  const nowMs = (): number => machine.clock.nowMs();
  const onSaid = (choice: Choice): void => {
    if (choice.hasEnded) {
      machine.statistics.completed(choice, sampling.choices, streaming);
    }
    call.said(choice);
  };
  return prompts.flatMap((prompt, at) =>
    Array.from({ length: sampling.choices }, (_, copy) => {
      const place = { index: at * sampling.choices + copy, promptIds: prompt.ids, capTokens: prompt.capTokens };
      const tools = {
        tokenizer: machine.tokenizer,
        script: script(choiceSeed(machine, sampling, prompt, copy)),
      };
      return new Choice(place, sampling, topLogprobs, tools, nowMs, onSaid);
    }),
  );
}

/** The same seed and prompt say the same; without a seed only greedy sampling does. */
function choiceSeed(machine: Machine, { seed, temperature }: Sampling, { ids }: Prompt, copy: number): number {
  const chance = temperature === 0 ? 0 : machine.random() * 0x1_0000_0000;
  return hashIds(ids, hashIds([seed ?? chance, copy]));
}

function makeIdentity(
  machine: Machine,
  exchange: Exchange,
  { idPrefix, body }: Plan,
  rule: FaultRule | null,
): Identity {
  const named = exchange.header('x-request-id') ?? body.request_id;
  return {
    id: `${idPrefix}-${typeof named === 'string' ? named : machine.newId()}`,
    created: Math.floor(Date.now() / 1000),
    fingerprint: machine.settings.fingerprint,
    ...falseTruth(rule, machine.settings),
  };
}
