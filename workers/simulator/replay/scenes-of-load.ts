import { differ, type Mismatch } from './compare.ts';
import {
  ask,
  chatCall,
  gauges,
  LONG_STREAM,
  outcomeOf,
  PACED,
  recordedOutcome,
  type Scene,
  startCalls,
  until,
  withSimulator,
} from './together.ts';
import type { Received } from './wire.ts';

/** A client hangs up: the slot, or the place in the queue, is free. */
export function hangsUp(victim: unknown, busy: number, at: { running: number; waiting: number }): Scene {
  return () =>
    withSimulator(PACED, async ({ url }) => {
      const others = await startCalls(
        url,
        Array.from({ length: busy }, () => LONG_STREAM),
        3000,
      );
      const before = await gauges(url);
      const left = chatCall(url, victim, 300);
      const came = await until(async () => {
        const { running, waiting } = await gauges(url);
        return running === at.running && waiting === at.waiting;
      });
      await left;
      const gone = await until(async () => {
        const { running, waiting } = await gauges(url);
        return running === busy && waiting === 0;
      }, 1000);
      const after = await gauges(url);
      await Promise.all(others);
      return differ('ended', [true, true, before.ended], [came, gone, after.ended]);
    });
}

/** N streams on four slots: every head comes at once, the fifth's first event only when a slot is free. */
export function load(count: number): Scene {
  return ({ request, response }) =>
    withSimulator(PACED, async ({ url }) => {
      const calls = await startCalls(
        url,
        Array.from({ length: count }, () => request.body),
      );
      const { running, waiting } = await gauges(url);
      const [seen] = response.gauges_after_250_ms as Record<string, number>[];
      const recorded = Object.entries(seen ?? {}).filter(([name]) => !name.includes('by_reason'));
      const answers = await Promise.all(calls);
      return [
        ...differ(
          'metrics',
          recorded.map(([, value]) => value),
          [running, waiting],
        ),
        ...differ('events', [200], [...new Set(answers.map(({ status }) => status))]),
      ];
    });
}

/** Eight streams on four slots, and a page asked for meanwhile. */
export function during(compare: (recorded: string, page: Received) => Mismatch[]): Scene {
  return ({ request, response }) =>
    withSimulator(PACED, async ({ url }) => {
      const calls = await startCalls(
        url,
        Array.from({ length: 8 }, () => LONG_STREAM),
        1000,
      );
      const page = await ask(url, request.path ?? '');
      await Promise.all(calls);
      return compare(String(response.body), page);
    });
}

export const withoutLoadTracking: Scene = ({ response }) =>
  withSimulator({ ...PACED, loadTracking: false }, async ({ url }) => {
    const calls = await startCalls(
      url,
      Array.from({ length: 3 }, () => LONG_STREAM),
      500,
    );
    const page = await ask(url, '/load');
    await Promise.all(calls);
    const seen = response.during_3_streams as { '/load': Received };
    return differ('shape', seen['/load'].body, page.body);
  });

/** A token takes long enough for the ends of two short answers to be told apart on a busy machine; the first call, whose end nobody compares, has fewer. */
export const commentsAndPriority: Scene = ({ request, response }) =>
  withSimulator(
    {
      ...PACED,
      decodeBaseMs: 20,
      slots: 1,
      keepAliveCommentMs: 150,
      priorityScheduling: true,
      forceIncludeUsage: true,
    },
    async ({ url }) => {
      const ended: number[] = [];
      const [first, ...others] = request.bodies ?? [];
      const calls = await startCalls(url, [{ ...Object(first), max_tokens: 80 }, ...others]);
      calls.forEach((one, at) => void one.then(() => ended.push(at)));
      const simulated = (await Promise.all(calls)).map(outcomeOf);
      const recorded = response.calls ?? [];
      // The recording client was too busy to tell who ended first, but each answer tells how long it was queued.
      const order = recorded
        .map(({ began_ms: began = 0, chunks }, at) => ({ at, ranMs: began + queuedMs(chunks ?? []) }))
        .toSorted((a, b) => a.ranMs - b.ranMs)
        .map(({ at }) => at);
      return [
        ...differ('events', recorded.map(recordedOutcome).slice(1), simulated.slice(1)),
        ...differ('events', order, ended),
      ];
    },
  );

function queuedMs(chunks: readonly (readonly [number | string, string])[]): number {
  const text = chunks.map(([, chunk]) => chunk).join('');
  return Number(/"queue_time_ms":([\d.]+)/.exec(text)?.[1] ?? 0);
}

/** A path that the simulator does not have. */
export const absent =
  (path: string): Scene =>
  () =>
    withSimulator(PACED, async ({ url }) => differ('status', 200, (await ask(url, path, 'POST')).status));
