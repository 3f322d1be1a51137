import type { Machine } from './machine.ts';
import { type Labels, MetricsPage, type Values } from './metrics-page.ts';

/** The page of `/metrics`: vLLM's names, kinds and labels. Read at scrape, changed by every step of the engine. */
export function metricsPage(machine: Machine): string {
  const { statistics, settings } = machine;
  const page = new MetricsPage({ engine: '0', model_name: settings.model }, statistics.startedAtS);
  processMetrics(page, statistics.startedAtS);
  engineGauges(page, machine);
  tokenCounters(page, machine);
  unusedCounters(page);
  callCounters(page, machine);
  for (const [name, histogram] of Object.entries(statistics.histograms)) {
    page.histogram(`vllm:${name}`, histogram);
  }
  if (settings.oldMetricNames) {
    page.histogram('vllm:time_per_output_token_seconds', statistics.histograms.request_time_per_output_token_seconds);
    page.gauge('vllm:gpu_cache_usage_perc', 'GPU KV-cache usage.', one(machine.pool.usage));
  }
  return page.text();
}

const one = (value: number): Values => [[{}, value]];

function processMetrics(page: MetricsPage, startedAtS: number): void {
  const { rss } = process.memoryUsage();
  const { user, system } = process.cpuUsage();
  page.plain('process_resident_memory_bytes', 'gauge', 'Resident memory size in bytes.', rss);
  page.plain('process_start_time_seconds', 'gauge', 'Start of the process, seconds since the epoch.', startedAtS);
  page.plain('process_cpu_seconds_total', 'counter', 'CPU time spent, in seconds.', (user + system) / 1e6);
}

function engineGauges(page: MetricsPage, { engine, pool, settings }: Machine): void {
  const { blockSize, kvBlocks } = settings;
  page.gauge('vllm:num_requests_running', 'Requests in execution batches.', one(engine.runningCount));
  page.gauge('vllm:num_requests_waiting', 'Requests waiting to be processed.', one(engine.waitingCount));
  page.gauge('vllm:num_requests_waiting_by_reason', 'Requests waiting, by reason.', [
    [{ reason: 'capacity' }, engine.waitingCount],
    [{ reason: 'deferred' }, 0],
  ]);
  page.gauge('vllm:engine_sleep_state', 'Whether the engine sleeps, and how deep.', [
    [{ sleep_state: 'awake' }, 1],
    [{ sleep_state: 'weights_offloaded' }, 0],
    [{ sleep_state: 'discard_all' }, 0],
  ]);
  page.gauge('vllm:kv_cache_usage_perc', 'KV-cache usage, 0 to 1.', one(pool.usage));
  const cache = { block_size: String(blockSize), cache_dtype: 'auto', enable_prefix_caching: 'True' };
  page.gauge('vllm:cache_config_info', 'Set-up of the KV cache.', [
    [{ ...cache, num_gpu_blocks: String(kvBlocks), kv_cache_size_tokens: String(kvBlocks * blockSize) }, 1],
  ]);
}

function tokenCounters(page: MetricsPage, { engine: { totals } }: Machine): void {
  const { promptTokens, cachedTokens, generatedTokens, preemptions } = totals;
  const all = promptTokens + cachedTokens;
  page.counter('vllm:prefix_cache_queries', 'Tokens looked up in the prefix cache.', one(all));
  page.counter('vllm:prefix_cache_hits', 'Tokens found in the prefix cache.', one(cachedTokens));
  page.counter('vllm:num_preemptions', 'Sequences that gave up their blocks.', one(preemptions));
  page.counter('vllm:prompt_tokens', 'Prompt tokens processed.', one(all));
  page.counter('vllm:prompt_tokens_by_source', 'Prompt tokens, by source.', [
    [{ source: 'local_compute' }, promptTokens],
    [{ source: 'local_cache_hit' }, cachedTokens],
    [{ source: 'external_kv_transfer' }, 0],
  ]);
  page.counter('vllm:prompt_tokens_cached', 'Cached prompt tokens.', one(cachedTokens));
  const elsewhere = ['host', 'p2p', 'disk', 'external_unspecified'].map((source): [Labels, number] => [{ source }, 0]);
  page.counter('vllm:prompt_tokens_cached_by_source', 'Cached prompt tokens, by where they were.', [
    [{ source: 'device' }, cachedTokens],
    ...elsewhere,
  ]);
  page.counter('vllm:generation_tokens', 'Tokens generated.', one(generatedTokens));
}

/** Counters of what the simulator does not do; they stay 0, as they did in the recordings. */
function unusedCounters(page: MetricsPage): void {
  for (const name of ['flops', 'read_bytes', 'write_bytes']) {
    page.counter(`vllm:estimated_${name}_per_gpu`, 'Not estimated.', one(0));
  }
  for (const name of ['external_prefix_cache', 'mm_cache']) {
    page.counter(`vllm:${name}_queries`, 'There is no such cache.', one(0));
    page.counter(`vllm:${name}_hits`, 'There is no such cache.', one(0));
  }
}

function callCounters(page: MetricsPage, { statistics }: Machine): void {
  const { finished, rejections, toolParses } = statistics;
  const byReason = Object.entries(finished).map(([reason, count]): [Labels, number] => [
    { finished_reason: reason },
    count,
  ]);
  page.counter('vllm:request_success', 'Requests that came to their end.', byReason);
  const refused = Object.entries(rejections).map(([reason, count]): [Labels, number] => [{ reason }, count]);
  page.counter('vllm:admission_rejections', 'Requests refused by a queue limit.', refused, ['engine']);
  const parses = Object.entries(toolParses).flatMap(([mode, count]) =>
    ['tool_call', 'no_tool_call'].flatMap((outcome) =>
      ['chat_completions', 'responses', 'other'].map((type): [Labels, number] => {
        const counted = outcome === 'tool_call' && type === 'chat_completions';
        return [{ mode, outcome, request_type: type }, counted ? count : 0];
      }),
    ),
  );
  page.counter('vllm:tool_call_parser_invocations', 'Uses of the tool parser.', parses, ['engine']);
}
