/**
 * What a worker's declared class of GPU is taken for until it has shown anything: how many times slower than the usual class at reading prompts
 * (about its arithmetic) and at writing (about its memory's bandwidth). Public data sheets, one GPU; the model's size falls out, for it
 * is the same in the whole pool.
 */
import type { Speed } from './predict.ts';

export const gpus = {
  t4: { prefill: 5, decode: 6 },
  v100: { prefill: 2.5, decode: 2.2 },
  l4: { prefill: 2.6, decode: 6.8 },
  a10: { prefill: 2.5, decode: 3.4 },
  a100: { prefill: 1, decode: 1 },
  l40s: { prefill: 0.9, decode: 2.4 },
  'rtx-3090': { prefill: 2.2, decode: 2.2 },
  'rtx-4090': { prefill: 1.3, decode: 2 },
  'rtx-5090': { prefill: 1, decode: 1.1 },
  h100: { prefill: 0.4, decode: 0.6 },
  h200: { prefill: 0.4, decode: 0.42 },
  b200: { prefill: 0.18, decode: 0.26 },
  mi300x: { prefill: 0.4, decode: 0.38 },
} as const satisfies Record<string, Speed>;

export type Gpu = keyof typeof gpus;

export const gpuNames = Object.keys(gpus) as [Gpu, ...Gpu[]];
