import { describe, expect, test } from 'vitest';
import type { Result } from './measure.ts';
import { budgets, budgetTable, type Summary, table } from './report.ts';
import { PEERS_SMALL, PRODUCT, type Row } from './workloads.ts';

const latencies = { mean: 1, p50: 1, p90: 1, p99: 1, max: 1 };
const memory = { idleBytes: 1, peakBytes: 1, afterBytes: 1 };

function result(row: Row, cpuUs: number | null, workload = PEERS_SMALL): Result {
  const rounds = [{ cpuUs, firstContent: latencies }];
  return { workload, row, perSecond: 1, cpuUs, whole: latencies, firstContent: latencies, rounds };
}

function summary(results: readonly Result[], leftOut: readonly string[] = []): Summary {
  return { results, memory, coldStartMs: 1, others: { versions: [], leftOut } };
}

function compared(results: readonly Result[]): string[] {
  return budgetTable(budgets(summary(results)))
    .split('\n')
    .filter((line) => line.includes('ours'))
    .map((line) => line.replaceAll(/ {2,}/g, '  '));
}

test('rows are compared within each round, and the middle of that is told', () => {
  const rounds = (...all: number[]) => all.map((cpuUs) => ({ cpuUs, firstContent: latencies }));
  // The machine was half as fast in the second round.
  const floor = { ...result('floor', 10, 'small'), rounds: rounds(10, 20, 10) };
  const ours = { ...result(PRODUCT, 24, 'small'), rounds: rounds(12, 24, 30) };
  expect(budgets(summary([floor, ours]))).toContainEqual({
    what: 'CPU of a settled call, × floor',
    is: 1.2,
    atMost: 1.4,
  });
});

describe('other gateways in the report', () => {
  test('have bounds of their own: ours at most a part of theirs, theirs at least so many times ours', () => {
    const rows = [
      result(PRODUCT, 100),
      result('vs Busbar, keys and limits', 200),
      result('vs GoModel, key and usage', 200),
      result('vs Portkey, bare', 700),
      result('vs LiteLLM, bare', 12_000),
    ];
    expect(compared(rows)).toEqual([
      'met  CPU of a settled call, ours ÷ Busbar, keys and limits  0.50  ≤ 0.6',
      'over  CPU of a settled call, ours ÷ GoModel, key and usage  0.50  ≤ 0.25',
      'met  CPU of a call, Portkey, bare ÷ ours  7.00  ≥ 7',
      'under  CPU of a call, LiteLLM, bare ÷ ours  120.00  ≥ 130',
    ]);
  });

  test('that were not in the run, or whose CPU is not known, meet and miss nothing', () => {
    expect(compared([result(PRODUCT, 100), result('vs Portkey, bare', null)])).toEqual([]);
    expect(compared([result('vs Portkey, bare', 700)])).toEqual([]);
  });

  test('are compared within their own rounds only', () => {
    expect(compared([result(PRODUCT, 100, 'small'), result('vs Portkey, bare', 700)])).toEqual([]);
  });

  test('that were left out are named', () => {
    expect(table(summary([], ['Busbar 1.5.5: not installed']))).toContain('left out: Busbar 1.5.5: not installed');
  });
});
