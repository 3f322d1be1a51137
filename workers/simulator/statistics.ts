import type { Choice } from './choice.ts';

/** A Prometheus histogram: `counts` are cumulative, one for each upper bound. */
export class Histogram {
  readonly bounds: readonly number[];
  readonly counts: number[];
  sum = 0;
  count = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = bounds.map(() => 0);
  }

  observe(value: number, times = 1): void {
    this.sum += value * times;
    this.count += times;
    this.bounds.forEach((bound, at) => {
      if (value <= bound) {
        this.counts[at] = (this.counts[at] ?? 0) + times;
      }
    });
  }
}

const FIRST_TOKEN_S = [
  0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560,
];
const TOKEN_S = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80];
const CALL_S = [0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680];
const STEP_TOKENS = [1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384];
const CHOICES = [1, 2, 5, 10, 20];
const PREEMPTIONS = [1, 2, 3, 4, 5, 10, 20];

/** 1, 2, 5, 10, 20, 50 … up to the context. */
function tokenBounds(contextLength: number): number[] {
  return [1, 10, 100, 1000, 10_000, 100_000]
    .flatMap((power) => [power, 2 * power, 5 * power])
    .filter((bound) => bound <= contextLength);
}

export type Rejection = 'max_num_queued_reqs' | 'max_num_queued_tokens';

/** What the metrics page tells about calls that came to their end; the engine itself counts tokens. */
export class Statistics {
  readonly startedAtS = Date.now() / 1000;
  /** vLLM never moves the last three for calls that a client gave up. */
  readonly finished = { stop: 0, length: 0, abort: 0, error: 0, repetition: 0 };
  readonly rejections: Record<Rejection, number> = { max_num_queued_reqs: 0, max_num_queued_tokens: 0 };
  readonly toolParses = { streaming: 0, non_streaming: 0 };
  readonly histograms: ReturnType<typeof makeHistograms>;

  constructor(contextLength: number) {
    this.histograms = makeHistograms(tokenBounds(contextLength));
  }

  rejected(reason: Rejection): void {
    this.rejections[reason] += 1;
  }

  stepped(tokens: number): void {
    this.histograms.iteration_tokens_total.observe(tokens);
  }

  /** Counts a choice that came to its own end. */
  completed(choice: Choice, choices: number, streaming: boolean): void {
    const { histograms, toolParses } = this;
    toolParses[streaming ? 'streaming' : 'non_streaming'] += choice.calledTools ? 1 : 0;
    this.finished[choice.finish === 'length' ? 'length' : 'stop'] += 1;
    histograms.request_prompt_tokens.observe(choice.promptIds.length);
    histograms.request_generation_tokens.observe(choice.completionTokens);
    histograms.request_max_num_generation_tokens.observe(choice.completionTokens);
    histograms.request_params_n.observe(choices);
    histograms.request_params_max_tokens.observe(choice.capTokens);
    histograms.request_num_preemptions.observe(choice.preemptions);
    histograms.request_prefill_kv_computed_tokens.observe(choice.promptIds.length - choice.cachedTokens);
    this.timed(choice);
  }

  private timed({ times, completionTokens }: Choice): void {
    const { histograms } = this;
    const { arrivedMs, scheduledMs, firstTokenMs, lastTokenMs } = times;
    const decodeS = (lastTokenMs - firstTokenMs) / 1000;
    histograms.time_to_first_token_seconds.observe((firstTokenMs - arrivedMs) / 1000);
    histograms.e2e_request_latency_seconds.observe((lastTokenMs - arrivedMs) / 1000);
    histograms.request_queue_time_seconds.observe((scheduledMs - arrivedMs) / 1000);
    histograms.request_inference_time_seconds.observe((lastTokenMs - scheduledMs) / 1000);
    histograms.request_prefill_time_seconds.observe((firstTokenMs - scheduledMs) / 1000);
    histograms.request_decode_time_seconds.observe(decodeS);
    if (completionTokens > 1) {
      const perTokenS = decodeS / (completionTokens - 1);
      histograms.inter_token_latency_seconds.observe(perTokenS, completionTokens - 1);
      histograms.request_time_per_output_token_seconds.observe(perTokenS);
    }
  }
}

/** All histograms, by their names without `vllm:`. */
function makeHistograms(tokens: readonly number[]) {
  return {
    request_prompt_tokens: new Histogram(tokens),
    request_generation_tokens: new Histogram(tokens),
    iteration_tokens_total: new Histogram(STEP_TOKENS),
    request_max_num_generation_tokens: new Histogram(tokens),
    request_params_n: new Histogram(CHOICES),
    request_params_max_tokens: new Histogram(tokens),
    time_to_first_token_seconds: new Histogram(FIRST_TOKEN_S),
    inter_token_latency_seconds: new Histogram(TOKEN_S),
    request_time_per_output_token_seconds: new Histogram(TOKEN_S),
    e2e_request_latency_seconds: new Histogram(CALL_S),
    request_queue_time_seconds: new Histogram(CALL_S),
    request_inference_time_seconds: new Histogram(CALL_S),
    request_prefill_time_seconds: new Histogram(CALL_S),
    request_decode_time_seconds: new Histogram(CALL_S),
    request_num_preemptions: new Histogram(PREEMPTIONS),
    request_prefill_kv_computed_tokens: new Histogram(tokens),
  };
}
