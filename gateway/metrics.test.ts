import { expect, test } from 'vitest';
import { type ClosedCall, createMetrics, type Readings } from './metrics.ts';

const call: ClosedCall = {
  endpoint: 'chat',
  model: 'tiny',
  outcome: 'complete',
  streamed: true,
  promptTokens: 10,
  completionTokens: 5,
  chargedNanousd: 1_500n,
  overheadMs: 0.2,
  ttftMs: 20,
  totalMs: 60,
  predictionError: 0.1,
};

const quiet: Readings = {
  holdsOpen: 0,
  heldNanousd: 0n,
  workersByState: new Map(),
  settlePending: 0,
  replayBytes: 0,
  ledgerHealthy: true,
};

test('a complete stream shows in every family under the names of OpenTelemetry', () => {
  const metrics = createMetrics();
  metrics.callClosed(call);
  const lines = metrics.render(quiet).split('\n');
  const labels = 'gen_ai_operation_name="chat",gen_ai_request_model="tiny"';
  for (const line of [
    `gen_ai_server_request_duration_seconds_sum{${labels}} 0.06`,
    `gen_ai_server_time_to_first_token_seconds_sum{${labels}} 0.02`,
    `gen_ai_server_time_per_output_token_seconds_sum{${labels}} 0.01`,
    `gen_ai_client_token_usage_sum{${labels},gen_ai_token_type="input"} 10`,
    `gen_ai_client_token_usage_sum{${labels},gen_ai_token_type="output"} 5`,
    'faregate_overhead_seconds_count 1',
    'faregate_calls_total{outcome="complete"} 1',
    'faregate_charged_nanousd_total 1500',
  ]) {
    expect(lines).toContain(line);
  }
});

test('a failed call counts by its outcome and adds no time to first token that never was', () => {
  const metrics = createMetrics();
  metrics.callClosed({ ...call, outcome: 'failed', ttftMs: null, completionTokens: 0, chargedNanousd: 0n });
  metrics.refused('worker_failed');
  const text = metrics.render(quiet);
  expect(text).toContain('faregate_calls_total{outcome="failed"} 1');
  expect(text).toContain('faregate_errors_total{code="worker_failed"} 1');
  expect(text).toContain('error_type="failed"');
  expect(text).not.toMatch(/^gen_ai_server_time_to_first_token_seconds_count/m);
});

test('gauges say what is true at the moment of asking, and a state without workers goes away', () => {
  const metrics = createMetrics();
  const busy = { ...quiet, holdsOpen: 3, heldNanousd: 42n, settlePending: 7, ledgerHealthy: false };
  const before = metrics.render({ ...busy, workersByState: new Map([['active', 2]]) });
  for (const line of [
    'faregate_holds_open 3',
    'faregate_held_nanousd 42',
    'faregate_settle_pending 7',
    'faregate_ledger_healthy 0',
    'faregate_workers{state="active"} 2',
  ]) {
    expect(before.split('\n')).toContain(line);
  }
  const after = metrics.render({ ...quiet, workersByState: new Map([['draining', 2]]) });
  expect(after).toContain('faregate_workers{state="draining"} 2');
  expect(after).not.toContain('state="active"');
});

test('the text keeps the format: buckets that add up to the count, labels escaped, one help and type for each name', () => {
  const metrics = createMetrics();
  metrics.callClosed({ ...call, model: 'a "b"\\c' });
  metrics.callClosed({ ...call, model: 'a "b"\\c', ttftMs: 2_000, totalMs: 3_000 });
  const lines = metrics.render(quiet).split('\n');
  const labels = 'gen_ai_operation_name="chat",gen_ai_request_model="a \\"b\\"\\\\c"';
  const name = 'gen_ai_server_time_to_first_token_seconds';
  const cumulative = lines
    .filter((line) => line.startsWith(`${name}_bucket`))
    .map((line) => Number(line.split(' ').at(-1)));
  expect(cumulative).toEqual([...cumulative].sort((a, b) => a - b));
  expect(lines).toContain(`${name}_bucket{le="0.02",${labels}} 1`);
  expect(lines).toContain(`${name}_bucket{le="2.5",${labels}} 2`);
  expect(lines).toContain(`${name}_bucket{le="+Inf",${labels}} 2`);
  expect(lines).toContain(`${name}_count{${labels}} 2`);
  expect(lines).toContain(`${name}_sum{${labels}} 2.02`);
  expect(lines.filter((line) => line === `# TYPE ${name} histogram`)).toHaveLength(1);
  expect(lines.at(-1)).toBe('');
});
