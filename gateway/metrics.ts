/** What Prometheus reads at /metrics: OpenTelemetry's GenAI names where there are any, `faregate_…` for what is our own. */
import type { ErrorCode } from './errors.ts';
import { CONTENT_TYPE, Family, Histogram, Value } from './prometheus.ts';
import type { RequestKind } from './request-fields.ts';

/** A call at its end. Its model is one that has a price: labels stay few. */
export interface ClosedCall {
  readonly endpoint: RequestKind;
  readonly model: string;
  readonly outcome: 'complete' | 'aborted' | 'failed';
  readonly streamed: boolean;
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly chargedNanousd: bigint;
  /** The gateway's own time from arrival to the first dispatch; null when nothing was dispatched. */
  readonly overheadMs: number | null;
  readonly ttftMs: number | null;
  readonly totalMs: number;
  /** How far off the predicted time to first content was, as a share of it; null where none was seen. */
  readonly predictionError: number | null;
}

/** What is read at the moment of asking. */
export interface Readings {
  readonly holdsOpen: number;
  readonly heldNanousd: bigint;
  readonly workersByState: ReadonlyMap<string, number>;
  /** Closed calls that are not yet in the database. */
  readonly settlePending: number;
  /** Memory of the answers that are kept for replay. */
  readonly replayBytes: number;
  readonly ledgerHealthy: boolean;
}

/** The metrics of one process. */
export interface Metrics {
  callClosed(call: ClosedCall): void;
  /** An inference request was answered with this error, before its call or after. */
  refused(code: ErrorCode): void;
  /** The text that Prometheus reads. */
  render(readings: Readings): string;
  readonly contentType: string;
}

/** OpenTelemetry's names of the operations. */
const operations = {
  chat: 'chat',
  completion: 'text_completion',
  embedding: 'embeddings',
} as const satisfies Record<RequestKind, string>;

/** The bucket bounds that OpenTelemetry advises for each; those of the overhead are ours. */
const buckets = {
  duration: [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92],
  firstToken: [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10],
  perToken: [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5],
  tokens: [1, 4, 16, 64, 256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216, 67_108_864],
  predictionError: [0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5, 10],
  overhead: [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1],
};

/** Metrics of their own: two gateways in one process do not mix. */
export function createMetrics(): Metrics {
  const families = callFamilies();
  const gauges = gaugeFamilies();
  const calls = new CallMetrics(families);
  const all = [...Object.values(families), ...Object.values(gauges)];
  return {
    contentType: CONTENT_TYPE,
    callClosed: (call) => calls.closed(call),
    refused: (code) => families.errors.of({ code }).add(),
    render: (readings) => {
      read(gauges, readings);
      return all.map((family) => family.text()).join('\n');
    },
  };
}

function callFamilies() {
  const histogram = (name: string, bounds: readonly number[], help: string) =>
    new Family({ name, help, type: 'histogram', make: () => new Histogram(bounds) });
  const counter = (name: string, help: string) => new Family({ name, help, type: 'counter', make: () => new Value() });
  return {
    duration: histogram(
      'gen_ai_server_request_duration_seconds',
      buckets.duration,
      'From the arrival of a call to its end.',
    ),
    firstToken: histogram(
      'gen_ai_server_time_to_first_token_seconds',
      buckets.firstToken,
      'From the arrival of a streamed call to its first content.',
    ),
    perToken: histogram(
      'gen_ai_server_time_per_output_token_seconds',
      buckets.perToken,
      'Mean time between the output tokens of a complete stream, after the first.',
    ),
    tokens: histogram('gen_ai_client_token_usage', buckets.tokens, 'Tokens billed per call.'),
    overhead: histogram(
      'faregate_overhead_seconds',
      buckets.overhead,
      "The gateway's own time from the arrival of a call to its first dispatch.",
    ),
    predictionError: histogram(
      'faregate_ttft_prediction_error_ratio',
      buckets.predictionError,
      'How far off the predicted time to first content was, as a share of the prediction.',
    ),
    closed: counter('faregate_calls_total', 'Calls that held money and ended, by outcome.'),
    errors: counter('faregate_errors_total', 'Inference requests answered with an error, by code.'),
    charged: counter('faregate_charged_nanousd_total', 'Charged to agents, in nano-USD.'),
  };
}

function gaugeFamilies() {
  const gauge = (name: string, help: string) => new Family({ name, help, type: 'gauge', make: () => new Value() });
  return {
    holdsOpen: gauge('faregate_holds_open', 'Calls that hold money now.'),
    held: gauge('faregate_held_nanousd', 'Money that open calls hold, in nano-USD.'),
    workers: gauge('faregate_workers', 'Workers by state.'),
    settlePending: gauge('faregate_settle_pending', 'Closed calls that are not yet in the database.'),
    replayBytes: gauge('faregate_replay_bytes', 'Memory of the answers that are kept for replay.'),
    healthy: gauge('faregate_ledger_healthy', '1 while calls can be charged safely, otherwise 0.'),
  };
}

type Families = ReturnType<typeof callFamilies>;

/** What closed calls add. */
class CallMetrics {
  readonly #families: Families;
  readonly #overhead: Histogram;
  readonly #predictionError: Histogram;
  readonly #charged: Value;
  /** By model. */
  readonly #series: Readonly<Record<RequestKind, Map<string, CallSeries>>>;

  constructor(families: Families) {
    this.#families = families;
    this.#overhead = families.overhead.of();
    this.#predictionError = families.predictionError.of();
    this.#charged = families.charged.of();
    this.#series = { chat: new Map(), completion: new Map(), embedding: new Map() };
  }

  closed(call: ClosedCall): void {
    this.#charged.add(Number(call.chargedNanousd));
    if (call.overheadMs !== null) this.#overhead.observe(call.overheadMs / 1_000);
    if (call.predictionError !== null) this.#predictionError.observe(call.predictionError);
    this.#of(call).add(call);
  }

  #of({ endpoint, model }: ClosedCall): CallSeries {
    const known = this.#series[endpoint].get(model);
    if (known !== undefined) return known;
    const made = new CallSeries(this.#families, endpoint, model);
    this.#series[endpoint].set(model, made);
    return made;
  }
}

/** The series of one endpoint and model, found once. */
class CallSeries {
  readonly #duration: Readonly<Record<ClosedCall['outcome'], Histogram>>;
  readonly #closed: Readonly<Record<ClosedCall['outcome'], Value>>;
  readonly #firstToken: Histogram;
  readonly #perToken: Histogram;
  readonly #input: Histogram;
  readonly #output: Histogram;

  constructor({ duration, closed, firstToken, perToken, tokens }: Families, endpoint: RequestKind, model: string) {
    const labels = { gen_ai_operation_name: operations[endpoint], gen_ai_request_model: model };
    const failed = (outcome: ClosedCall['outcome']) => duration.of({ ...labels, error_type: outcome });
    this.#duration = { complete: duration.of(labels), aborted: failed('aborted'), failed: failed('failed') };
    this.#closed = {
      complete: closed.of({ outcome: 'complete' }),
      aborted: closed.of({ outcome: 'aborted' }),
      failed: closed.of({ outcome: 'failed' }),
    };
    this.#firstToken = firstToken.of(labels);
    this.#perToken = perToken.of(labels);
    this.#input = tokens.of({ ...labels, gen_ai_token_type: 'input' });
    this.#output = tokens.of({ ...labels, gen_ai_token_type: 'output' });
  }

  add({ outcome, streamed, promptTokens, completionTokens, ttftMs, totalMs }: ClosedCall): void {
    this.#closed[outcome].add();
    this.#duration[outcome].observe(totalMs / 1_000);
    if (promptTokens > 0) this.#input.observe(promptTokens);
    if (completionTokens > 0) this.#output.observe(completionTokens);
    if (!streamed || ttftMs === null) return;
    this.#firstToken.observe(ttftMs / 1_000);
    const gaps = completionTokens - 1;
    if (outcome === 'complete' && gaps > 0) this.#perToken.observe((totalMs - ttftMs) / gaps / 1_000);
  }
}

function read(gauges: ReturnType<typeof gaugeFamilies>, readings: Readings): void {
  gauges.holdsOpen.of().value = readings.holdsOpen;
  gauges.held.of().value = Number(readings.heldNanousd);
  gauges.settlePending.of().value = readings.settlePending;
  gauges.replayBytes.of().value = readings.replayBytes;
  gauges.healthy.of().value = readings.ledgerHealthy ? 1 : 0;
  gauges.workers.clear();
  for (const [state, count] of readings.workersByState) gauges.workers.of({ state }).value = count;
}
