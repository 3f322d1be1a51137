/** What Prometheus reads at /metrics: OpenTelemetry's GenAI names where there are any, `faregate_…` for what is our own. */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { ErrorCode } from './errors.ts';
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
  render(readings: Readings): Promise<string>;
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

const callLabels = ['gen_ai_operation_name', 'gen_ai_request_model'] as const;

/** Metrics with a registry of their own: two gateways in one process do not mix. */
export function createMetrics(): Metrics {
  const registry = new Registry();
  const calls = callFamilies([registry]);
  const gauges = gaugeFamilies([registry]);
  return {
    contentType: registry.contentType,
    callClosed: (call) => record(calls, call),
    refused: (code) => calls.errors.inc({ code }),
    render: (readings) => {
      read(gauges, readings);
      return registry.metrics();
    },
  };
}

function callFamilies(registers: Registry[]) {
  return {
    duration: new Histogram({
      name: 'gen_ai_server_request_duration_seconds',
      help: 'From the arrival of a call to its end.',
      labelNames: [...callLabels, 'error_type'],
      buckets: buckets.duration,
      registers,
    }),
    firstToken: new Histogram({
      name: 'gen_ai_server_time_to_first_token_seconds',
      help: 'From the arrival of a streamed call to its first content.',
      labelNames: callLabels,
      buckets: buckets.firstToken,
      registers,
    }),
    perToken: new Histogram({
      name: 'gen_ai_server_time_per_output_token_seconds',
      help: 'Mean time between the output tokens of a complete stream, after the first.',
      labelNames: callLabels,
      buckets: buckets.perToken,
      registers,
    }),
    tokens: new Histogram({
      name: 'gen_ai_client_token_usage',
      help: 'Tokens billed per call.',
      labelNames: [...callLabels, 'gen_ai_token_type'],
      buckets: buckets.tokens,
      registers,
    }),
    overhead: new Histogram({
      name: 'faregate_overhead_seconds',
      help: "The gateway's own time from the arrival of a call to its first dispatch.",
      buckets: buckets.overhead,
      registers,
    }),
    predictionError: new Histogram({
      name: 'faregate_ttft_prediction_error_ratio',
      help: 'How far off the predicted time to first content was, as a share of the prediction.',
      buckets: buckets.predictionError,
      registers,
    }),
    closed: new Counter({
      name: 'faregate_calls_total',
      help: 'Calls that held money and ended, by outcome.',
      labelNames: ['outcome'],
      registers,
    }),
    errors: new Counter({
      name: 'faregate_errors_total',
      help: 'Inference requests answered with an error, by code.',
      labelNames: ['code'],
      registers,
    }),
    charged: new Counter({
      name: 'faregate_charged_nanousd_total',
      help: 'Charged to agents, in nano-USD.',
      registers,
    }),
  };
}

function gaugeFamilies(registers: Registry[]) {
  const gauge = (name: string, help: string) => new Gauge({ name, help, registers });
  return {
    holdsOpen: gauge('faregate_holds_open', 'Calls that hold money now.'),
    held: gauge('faregate_held_nanousd', 'Money that open calls hold, in nano-USD.'),
    workers: new Gauge({ name: 'faregate_workers', help: 'Workers by state.', labelNames: ['state'], registers }),
    settlePending: gauge('faregate_settle_pending', 'Closed calls that are not yet in the database.'),
    replayBytes: gauge('faregate_replay_bytes', 'Memory of the answers that are kept for replay.'),
    healthy: gauge('faregate_ledger_healthy', '1 while calls can be charged safely, otherwise 0.'),
  };
}

function record(families: ReturnType<typeof callFamilies>, call: ClosedCall): void {
  const labels = { gen_ai_operation_name: operations[call.endpoint], gen_ai_request_model: call.model };
  const complete = call.outcome === 'complete';
  families.closed.inc({ outcome: call.outcome });
  families.duration.observe(complete ? labels : { ...labels, error_type: call.outcome }, call.totalMs / 1_000);
  families.charged.inc(Number(call.chargedNanousd));
  if (call.overheadMs !== null) families.overhead.observe(call.overheadMs / 1_000);
  if (call.promptTokens > 0) families.tokens.observe({ ...labels, gen_ai_token_type: 'input' }, call.promptTokens);
  if (call.completionTokens > 0) {
    families.tokens.observe({ ...labels, gen_ai_token_type: 'output' }, call.completionTokens);
  }
  if (call.predictionError !== null) families.predictionError.observe(call.predictionError);
  if (!call.streamed || call.ttftMs === null) return;
  families.firstToken.observe(labels, call.ttftMs / 1_000);
  const gaps = call.completionTokens - 1;
  if (complete && gaps > 0) families.perToken.observe(labels, (call.totalMs - call.ttftMs) / gaps / 1_000);
}

function read(gauges: ReturnType<typeof gaugeFamilies>, readings: Readings): void {
  gauges.holdsOpen.set(readings.holdsOpen);
  gauges.held.set(Number(readings.heldNanousd));
  gauges.settlePending.set(readings.settlePending);
  gauges.replayBytes.set(readings.replayBytes);
  gauges.healthy.set(readings.ledgerHealthy ? 1 : 0);
  gauges.workers.reset();
  for (const [state, count] of readings.workersByState) gauges.workers.set({ state }, count);
}
