/** What our settled call may cost beside a call of theirs. */
import type { PeerRow } from '../workloads.ts';

/** Of the whole: ours ÷ theirs at most, or theirs ÷ ours at least. */
export type Bound = { readonly atMost: number } | { readonly atLeast: number };

export const peerBounds: readonly ({ readonly row: PeerRow } & Bound)[] = [
  { row: 'vs Busbar, keys and limits', atMost: 0.6 },
  { row: 'vs Bifrost, key and budget', atMost: 0.25 },
  { row: 'vs GoModel, key and usage', atMost: 0.25 },
  { row: 'vs Portkey, bare', atLeast: 7 },
  { row: 'vs LiteLLM, bare', atLeast: 130 },
];
