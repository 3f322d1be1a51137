/** The smallest call of those rows that speak to the ledger itself: one token in, one token out. */
import type { Closing } from '../../payments/record.ts';

export const CALL_NANOUSD = 1_000n;

const PRICE = { version: 1, model: 'plain', input: 0n, cachedInput: 0n, output: CALL_NANOUSD * 1_000_000n, perMs: 0n };

export const CLOSING: Closing = {
  outcome: 'complete',
  endpoint: 'chat',
  model: PRICE.model,
  streamed: false,
  price: PRICE,
  workerId: null,
  operatorId: null,
  operatorSharePpm: 0,
  region: null,
  attempts: 1,
  promptTokens: 1,
  cachedTokens: 0,
  completionTokens: 1,
  queueMs: 0,
  ttftMs: 0,
  billedMs: 0,
  totalMs: 0,
};
