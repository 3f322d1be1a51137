/** Why a call went where it went: what the router saw of every worker at each of its choices. */
import { z } from 'zod';
import type { Candidate, Candidates } from '../router/candidates.ts';
import { constraints } from '../router/refusal.ts';

const candidateSchema = z.strictObject({
  worker: z.string(),
  operator: z.string(),
  country: z.string(),
  region: z.string(),
  refused: z.enum(constraints).nullable().describe('the constraint that it did not meet; null: it could have served'),
  predicted_ttft_ms: z.int().nullable().describe('from dispatch to the first content'),
  predicted_total_ms: z.int().nullable(),
  cached_tokens: z.int().describe('of the prompt, expected in its prefix cache'),
  score: z.int().nullable().describe('the least wins'),
});

export const routingSchema = z
  .array(z.strictObject({ candidates: z.array(candidateSchema) }))
  .nullable()
  .describe('one entry per choice, retries too; null when it is not remembered any more');

export type RoutingView = z.input<typeof routingSchema>;

export const routingExample: RoutingView = [
  {
    candidates: [
      {
        worker: 'wrk_0198f3a27c4b7d1e9a6b2c3d4e5f6071',
        operator: 'op_0198f3a1b2c37d4e8f90a1b2c3d4e5f6',
        country: 'NO',
        region: 'eu-north',
        refused: null,
        predicted_ttft_ms: 88,
        predicted_total_ms: 1_404,
        cached_tokens: 16,
        score: 1_404,
      },
      {
        worker: 'wrk_0198f3a27c4b7d1e9a6b2c3d4e5f6072',
        operator: 'op_0198f3a1b2c37d4e8f90a1b2c3d4e5f7',
        country: 'US',
        region: 'us-east',
        refused: 'country',
        predicted_ttft_ms: null,
        predicted_total_ms: null,
        cached_tokens: 0,
        score: null,
      },
    ],
  },
];

/** What was seen of each worker at each choice for one call. */
export type Choices = readonly Candidates[];

export function routingView(choices: Choices | undefined): RoutingView {
  return choices?.map((candidates) => ({ candidates: Array.from(candidates, candidateView) })) ?? null;
}

function candidateView({ worker, refused, prediction, cachedTokens, score }: Candidate) {
  const { id, operator, country, region } = worker.record;
  return {
    worker: id,
    operator,
    country,
    region,
    refused,
    predicted_ttft_ms: prediction === null ? null : Math.round(prediction.ttftMs),
    predicted_total_ms: prediction === null ? null : Math.round(prediction.totalMs),
    cached_tokens: cachedTokens,
    score: prediction === null ? null : Math.round(score),
  };
}
