import type { Machine } from './machine.ts';
import type { Histogram } from './statistics.ts';

/** The page of `/metrics`: vLLM's names, kinds and labels, in the text form of Prometheus. */
export function metricsPage(machine: Machine): string {
  const { statistics, settings } = machine;
  const page = new Page(settings.model, statistics.startedAtS);
  processMetrics(page, statistics.startedAtS);
  engineGauges(page, machine);
  tokenCounters(page, machine);
  callCounters(page, machine);
  for (const [name, histogram] of Object.entries(statistics.histograms)) {
    page.histogram(name, histogram);
  }
  const { blockSize, kvBlocks } = settings;
  page.gauge('cache_config_info', 'Information of the LLMEngine CacheConfig', [
    [
      {
        block_size: String(blockSize),
        cache_dtype: 'auto',
        enable_prefix_caching: 'True',
        num_gpu_blocks: String(kvBlocks),
      },
      1,
    ],
  ]);
  return page.text();
}

type Labels = Readonly<Record<string, string>>;

/** Lines of the page as they are written. */
class Page {
  private readonly lines: string[] = [];
  private readonly model: string;
  private readonly createdS: number;

  constructor(model: string, createdS: number) {
    this.model = model;
    this.createdS = createdS;
  }

  text(): string {
    return `${this.lines.join('\n')}\n`;
  }

  /** A series outside vLLM's own. */
  plain(name: string, kind: 'gauge' | 'counter', help: string, value: number): void {
    this.lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${kind}`, `${name} ${float(value)}`);
  }

  gauge(name: string, help: string, values: readonly (readonly [Labels, number])[]): void {
    this.series(name, 'gauge', help, values);
  }

  /** A counter, with the gauge of its birth beside it. */
  counter(name: string, help: string, values: readonly (readonly [Labels, number])[]): void {
    this.series(`${name}_total`, 'counter', help, values);
    this.series(
      `${name}_created`,
      'gauge',
      help,
      values.map(([labels]) => [labels, this.createdS]),
    );
  }

  histogram(name: string, { bounds, counts, sum, count }: Histogram): void {
    const full = `vllm:${name}`;
    this.lines.push(`# HELP ${full} Histogram of ${name.replaceAll('_', ' ')}.`, `# TYPE ${full} histogram`);
    bounds.forEach((bound, at) => {
      this.lines.push(`${full}_bucket${this.labels({ le: float(bound) })} ${float(counts[at] ?? 0)}`);
    });
    this.lines.push(
      `${full}_bucket${this.labels({ le: '+Inf' })} ${float(count)}`,
      `${full}_count${this.labels({})} ${float(count)}`,
      `${full}_sum${this.labels({})} ${float(sum)}`,
    );
    this.series(`${name}_created`, 'gauge', `Histogram of ${name.replaceAll('_', ' ')}.`, [[{}, this.createdS]]);
  }

  private series(name: string, kind: string, help: string, values: readonly (readonly [Labels, number])[]): void {
    const full = `vllm:${name}`;
    this.lines.push(`# HELP ${full} ${help}`, `# TYPE ${full} ${kind}`);
    for (const [labels, value] of values) {
      this.lines.push(`${full}${this.labels(labels)} ${float(value)}`);
    }
  }

  private labels(own: Labels): string {
    const all = Object.entries({ engine: '0', model_name: this.model, ...own }).toSorted(([a], [b]) =>
      a < b ? -1 : 1,
    );
    return `{${all.map(([name, value]) => `${name}=${JSON.stringify(value)}`).join(',')}}`;
  }
}

function processMetrics(page: Page, startedAtS: number): void {
  const { rss } = process.memoryUsage();
  const { user, system } = process.cpuUsage();
  page.plain('process_resident_memory_bytes', 'gauge', 'Resident memory size in bytes.', rss);
  page.plain(
    'process_start_time_seconds',
    'gauge',
    'Start time of the process since unix epoch in seconds.',
    startedAtS,
  );
  page.plain(
    'process_cpu_seconds_total',
    'counter',
    'Total user and system CPU time spent in seconds.',
    (user + system) / 1e6,
  );
}

function engineGauges(page: Page, { engine, pool, settings }: Machine): void {
  page.gauge('num_requests_running', 'Number of requests in model execution batches.', [[{}, engine.runningCount]]);
  page.gauge('num_requests_waiting', 'Number of requests waiting to be processed.', [[{}, engine.waitingCount]]);
  page.gauge('num_requests_waiting_by_reason', 'Number of requests waiting to be processed by reason.', [
    [{ reason: 'capacity' }, engine.waitingCount],
    [{ reason: 'deferred' }, 0],
  ]);
  page.gauge('engine_sleep_state', 'Engine sleep state; awake = 0 means engine is sleeping.', [
    [{ sleep_state: 'awake' }, 1],
    [{ sleep_state: 'weights_offloaded' }, 0],
    [{ sleep_state: 'discard_all' }, 0],
  ]);
  page.gauge('kv_cache_usage_perc', 'KV-cache usage. 1 means 100 percent usage.', [[{}, pool.usage]]);
  if (settings.oldMetricNames) {
    page.gauge('gpu_cache_usage_perc', 'GPU KV-cache usage. 1 means 100 percent usage.', [[{}, pool.usage]]);
  }
}

function tokenCounters(page: Page, { engine: { totals } }: Machine): void {
  const { promptTokens, cachedTokens, generatedTokens, preemptions } = totals;
  const all = promptTokens + cachedTokens;
  page.counter('prefix_cache_queries', 'Prefix cache queries, in terms of number of queried tokens.', [[{}, all]]);
  page.counter('prefix_cache_hits', 'Prefix cache hits, in terms of number of cached tokens.', [[{}, cachedTokens]]);
  page.counter('external_prefix_cache_queries', 'External prefix cache queries.', [[{}, 0]]);
  page.counter('external_prefix_cache_hits', 'External prefix cache hits.', [[{}, 0]]);
  page.counter('num_preemptions', 'Cumulative number of preemption from the engine.', [[{}, preemptions]]);
  page.counter('prompt_tokens', 'Number of prefill tokens processed.', [[{}, all]]);
  page.counter('prompt_tokens_by_source', 'Number of prompt tokens by source.', [
    [{ source: 'local_compute' }, promptTokens],
    [{ source: 'local_cache_hit' }, cachedTokens],
    [{ source: 'external_kv_transfer' }, 0],
  ]);
  page.counter('prompt_tokens_cached', 'Number of cached prompt tokens.', [[{}, cachedTokens]]);
  page.counter('prompt_tokens_cached_by_source', 'Number of cached prompt tokens by source.', [
    [{ source: 'device' }, cachedTokens],
    ...['host', 'p2p', 'disk', 'external_unspecified'].map((source): [Labels, number] => [{ source }, 0]),
  ]);
  page.counter('generation_tokens', 'Number of generation tokens processed.', [[{}, generatedTokens]]);
}

function callCounters(page: Page, { statistics, settings }: Machine): void {
  page.counter(
    'request_success',
    'Count of successfully processed requests.',
    Object.entries(statistics.finished).map(([reason, count]) => [{ finished_reason: reason }, count]),
  );
  page.counter(
    'admission_rejections',
    'Number of requests refused at admission.',
    Object.entries(statistics.rejections).map(([reason, count]) => [{ reason }, count]),
  );
  page.counter('tool_call_parser_invocations', 'Number of tool call parser invocations.', [[{}, statistics.toolCalls]]);
  if (settings.oldMetricNames) {
    page.histogram('time_per_output_token_seconds', statistics.histograms.request_time_per_output_token_seconds);
  }
}

/** A number as Prometheus' Python client writes it. */
function float(value: number): string {
  return Number.isInteger(value) && Math.abs(value) < 1e16 ? `${value}.0` : String(value);
}
