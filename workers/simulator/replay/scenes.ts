import { differ } from './compare.ts';
import { compareMetrics } from './metrics.ts';
import {
  bothEndings,
  drains,
  drainsInTime,
  engineFrozen,
  frontStays,
  kindsOfCalls,
  laterCalls,
  refused,
  SILENT_MS,
  struck,
} from './scenes-of-faults.ts';
import { absent, commentsAndPriority, during, hangsUp, load, withoutLoadTracking } from './scenes-of-load.ts';
import { LONG_STREAM, type Scene } from './together.ts';

/** Recordings of several calls that ran together, or of one that was interrupted. */
export const REPLAYED_TOGETHER =
  /^(fault-|abort-|load-|metrics-during|plain-load|dev-pause|dev-abort-requests-running|variant-keep-alive)/;

const SHORT = { ...LONG_STREAM, max_tokens: 8 };

/** How each recording of calls together is replayed. */
export const SCENES: Readonly<Record<string, Scene>> = {
  'abort-stream': hangsUp(LONG_STREAM, 0, { running: 1, waiting: 0 }),
  'abort-whole': hangsUp({ ...LONG_STREAM, stream: false }, 0, { running: 1, waiting: 0 }),
  'abort-n2': hangsUp({ ...LONG_STREAM, n: 2 }, 0, { running: 2, waiting: 0 }),
  'abort-queued-stream': hangsUp(SHORT, 4, { running: 4, waiting: 1 }),
  'abort-queued-whole': hangsUp({ ...SHORT, stream: false }, 4, { running: 4, waiting: 1 }),
  'dev-abort-requests-running': absent('/abort_requests'),
  'dev-pause-abort': absent('/pause?mode=abort'),
  'dev-pause-keep': absent('/pause?mode=keep'),
  'dev-pause-wait': absent('/pause?mode=wait'),
  'fault-api-process-killed': struck({ fault: 'front-killed' }, { compare: kindsOfCalls }),
  'fault-engine-frozen': engineFrozen,
  'fault-engine-killed': struck({ fault: 'engine-dead' }),
  'fault-engine-killed-front-stays': frontStays,
  'fault-pause-abort': struck({ fault: 'sigterm-abort' }),
  'fault-queue-full': refused('maxQueued', 2),
  'fault-sigterm': struck({ fault: 'sigterm-abort' }),
  'fault-sigterm-new-calls-timeout-0': struck(
    { fault: 'sigterm-silent' },
    { limitMs: SILENT_MS, compare: kindsOfCalls },
  ),
  'fault-sigterm-new-calls-timeout-6': drains,
  'fault-sigterm-repeated': bothEndings,
  'fault-sigterm-with-timeout': drainsInTime,
  'fault-token-queue-full': refused('maxQueuedTokens', 600),
  'fault-worker-process-killed': struck({ fault: 'engine-dead' }, { compare: laterCalls, slots: 5 }),
  'load-1-streams': load(1),
  'load-4-streams': load(4),
  'load-8-streams': load(8),
  'load-during-8-streams': during((recorded, { body }) => differ('shape', recorded, body)),
  'metrics-during-8-streams': during((recorded, { body }) => compareMetrics(recorded, body)),
  'plain-load': withoutLoadTracking,
  'variant-keep-alive-comments-and-priority': commentsAndPriority,
};
