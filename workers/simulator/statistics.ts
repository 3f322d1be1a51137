import type { Choice } from './choice.ts';

/** A Prometheus histogram. */
export class Histogram {
  readonly bounds: readonly number[];
  readonly counts: number[];
  sum = 0;
  count = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = bounds.map(() => 0);
  }

  observe(value: number): void {
    this.sum += value;
    this.count += 1;
    this.bounds.forEach((bound, at) => {
      if (value <= bound) {
        this.counts[at] = (this.counts[at] ?? 0) + 1;
      }
    });
  }
}

const SHORT_S = [
  0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560,
];
const TOKEN_S = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80];
const LONG_S = [0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680];
const TOKENS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000];
const CHOICES = [1, 2, 5, 10, 20];

export type Rejection = 'max_num_queued_reqs' | 'max_num_queued_tokens';

/** What the metrics page tells about calls that ended; the engine counts tokens itself. */
export class Statistics {
  readonly startedAtS = Date.now() / 1000;
  readonly finished: Record<'stop' | 'length' | 'abort' | 'error' | 'repetition', number> = {
    stop: 0,
    length: 0,
    abort: 0,
    error: 0,
    repetition: 0,
  };
  readonly rejections: Record<Rejection, number> = { max_num_queued_reqs: 0, max_num_queued_tokens: 0 };
  toolCalls = 0;
  readonly histograms = {
    request_prompt_tokens: new Histogram(TOKENS),
    request_generation_tokens: new Histogram(TOKENS),
    iteration_tokens_total: new Histogram(TOKENS),
    request_max_num_generation_tokens: new Histogram(TOKENS),
    request_params_n: new Histogram(CHOICES),
    request_params_max_tokens: new Histogram(TOKENS),
    time_to_first_token_seconds: new Histogram(SHORT_S),
    inter_token_latency_seconds: new Histogram(TOKEN_S),
    request_time_per_output_token_seconds: new Histogram(TOKEN_S),
    e2e_request_latency_seconds: new Histogram(LONG_S),
    request_queue_time_seconds: new Histogram(LONG_S),
    request_inference_time_seconds: new Histogram(LONG_S),
    request_prefill_time_seconds: new Histogram(LONG_S),
    request_decode_time_seconds: new Histogram(LONG_S),
    request_prefill_kv_computed_tokens: new Histogram(TOKENS),
  };

  rejected(reason: Rejection): void {
    this.rejections[reason] += 1;
  }

  /** Counts a choice that came to its own end; aborted ones are not counted, as in vLLM. */
  completed(choice: Choice, choices: number): void {
    this.toolCalls += choice.calledTools ? 1 : 0;
    this.finished[choice.finish === 'length' ? 'length' : 'stop'] += 1;
    const { arrivedMs, scheduledMs, firstTokenMs, lastTokenMs } = choice.times;
    const { histograms } = this;
    histograms.request_prompt_tokens.observe(choice.promptIds.length);
    histograms.request_generation_tokens.observe(choice.completionTokens);
    histograms.request_params_n.observe(choices);
    histograms.request_max_num_generation_tokens.observe(choice.completionTokens);
    histograms.request_params_max_tokens.observe(choice.capTokens);
    histograms.request_prefill_kv_computed_tokens.observe(choice.promptIds.length - choice.cachedTokens);
    histograms.time_to_first_token_seconds.observe((firstTokenMs - arrivedMs) / 1000);
    histograms.e2e_request_latency_seconds.observe((lastTokenMs - arrivedMs) / 1000);
    histograms.request_queue_time_seconds.observe((scheduledMs - arrivedMs) / 1000);
    histograms.request_inference_time_seconds.observe((lastTokenMs - scheduledMs) / 1000);
    histograms.request_prefill_time_seconds.observe((firstTokenMs - scheduledMs) / 1000);
    histograms.request_decode_time_seconds.observe((lastTokenMs - firstTokenMs) / 1000);
    if (choice.completionTokens > 1) {
      const perTokenS = (lastTokenMs - firstTokenMs) / 1000 / (choice.completionTokens - 1);
      histograms.inter_token_latency_seconds.observe(perTokenS);
      histograms.request_time_per_output_token_seconds.observe(perTokenS);
    }
  }
}
