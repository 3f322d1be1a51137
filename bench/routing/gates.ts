/** What the product's router must be better than, and by how much (research on routing, §4.3). */
import { ASKING, FOUR, fourGateways, OURS } from './policies.ts';
import type { Outcome } from './simulate.ts';
import type { KindName } from './trace.ts';

/** Outcomes of all policies on one trace. */
export type Outcomes = ReadonlyMap<string, Outcome>;

export interface Gate {
  readonly name: string;
  readonly value: number;
  readonly limit: number;
  readonly isMet: boolean;
}

/** No routers of others: one knows what nobody can know, the rest are ours, with a part left out, callers in a hurry, or four doors. */
const REFERENCES: ReadonlySet<string> = new Set(['true state', 'selfish', ASKING, ...Object.keys(fourGateways)]);
const GOODPUT_TOLERANCE = 0.005;
const FOUR_TOLERANCE = 0.06;

export function gates(kind: KindName, outcomes: Outcomes): Gate[] {
  const ours = outcomeOf(outcomes, OURS);
  const others = [...outcomes].filter(([name]) => name !== OURS && !REFERENCES.has(name));
  const best = Math.max(...others.map(([, { goodput }]) => goodput));
  const found = [atLeast('goodput less that of the best other', ours.goodput - best, -GOODPUT_TOLERANCE)];
  const four = outcomes.get(FOUR);
  if (four !== undefined) {
    found.push(atLeast('goodput of four gateways less that of one', four.goodput - ours.goodput, -FOUR_TOLERANCE));
  }
  if (kind === 'long chat') {
    const share = (name: string) => ours.ttftP99Ms / outcomeOf(outcomes, name).ttftP99Ms;
    found.push(atMost('p99 of the first content, × two choices', share('two choices'), 0.75));
    found.push(atMost('p99 of the first content, × bounded prefix', share('bounded prefix'), 0.85));
  }
  if (kind === 'code') {
    const gain = ours.goodput - outcomeOf(outcomes, 'least in flight').goodput;
    found.push(atLeast('goodput less that of least in flight', gain, 0));
  }
  return found;
}

function atLeast(name: string, value: number, limit: number): Gate {
  return { name, value, limit, isMet: value >= limit };
}

function atMost(name: string, value: number, limit: number): Gate {
  return { name, value, limit, isMet: value <= limit };
}

function outcomeOf(outcomes: Outcomes, name: string): Outcome {
  const outcome = outcomes.get(name);
  if (outcome === undefined) throw new Error(`no policy ${name}`);
  return outcome;
}
