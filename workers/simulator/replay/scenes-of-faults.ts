import type { FaultRule } from '../faults.ts';
import { differ, type Mismatch } from './compare.ts';
import type { RecordedResponse } from './recordings.ts';
import {
  ask,
  chatCall,
  distinct,
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

/** After this silence the clients of these scenes give up. */
export const SILENT_MS = 1200;

/** Six calls on four slots, a fault among them, and how each of them went. */
export function struck(
  rule: FaultRule,
  { limitMs = 20_000, compare = eachCall, slots = 4 }: { limitMs?: number; compare?: Compare; slots?: number } = {},
): Scene {
  return ({ request, response }) =>
    withSimulator({ ...PACED, slots }, async ({ url, faults }) => {
      const calls = await startCalls(url, request.bodies ?? [], limitMs);
      await until(async () => (await gauges(url)).generated > 40);
      faults.set(rule);
      const simulated = (await Promise.all(calls)).map(outcomeOf);
      return compare((response.calls ?? []).map(recordedOutcome), simulated);
    });
}

type Compare = (recorded: readonly unknown[], simulated: readonly unknown[]) => Mismatch[];

const eachCall: Compare = (recorded, simulated) => differ('events', recorded, simulated);

/** For recordings of a busy machine, on which some calls fared as their neighbours. */
export const kindsOfCalls: Compare = (recorded, simulated) => differ('events', distinct(recorded), distinct(simulated));

/** The same without the first call, which the recorded machine had finished, so that another had its slot. */
export const laterCalls: Compare = (recorded, simulated) => kindsOfCalls(recorded.slice(1), simulated.slice(1));

/** More calls than the queue takes: some run, some get 503 with their status, some inside a stream. */
export function refused(option: 'maxQueued' | 'maxQueuedTokens', limit: number): Scene {
  return ({ request, response }) =>
    withSimulator({ ...PACED, prefillTokensPerSecond: 2000, [option]: limit }, async ({ url, faults }) => {
      const [first, ...others] = request.bodies ?? [];
      faults.set({ fault: 'queue-full-late', count: 1 });
      const late = await chatCall(url, first);
      const calls = [first, ...others].map((body) => chatCall(url, body));
      const simulated = [late, ...(await Promise.all(calls))].map(outcomeOf);
      return kindsOfCalls((response.calls ?? []).map(recordedOutcome), simulated);
    });
}

export const engineFrozen: Scene = ({ request, response }) =>
  withSimulator(PACED, async ({ url, faults }) => {
    const calls = await startCalls(url, request.bodies ?? []);
    faults.set({ fault: 'freeze' });
    const asked = await Promise.all(['/health', '/v1/models', '/metrics'].map((path) => ask(url, path)));
    const fresh = { ...request.bodies?.[0], max_tokens: 2 };
    const news = await Promise.all([false, true].map((stream) => chatCall(url, { ...fresh, stream }, 300)));
    faults.clear();
    const simulated = (await Promise.all(calls)).map(outcomeOf);
    const recordedNews = [response.new_whole_call_while_frozen, response.new_stream_while_frozen] as RecordedResponse[];
    return [
      ...differ(
        'status',
        [200, 200, 200],
        asked.map(({ status }) => status),
      ),
      ...differ('events', recordedNews.map(recordedOutcome), news.map(outcomeOf)),
      ...eachCall((response.calls ?? []).map(recordedOutcome), simulated),
    ];
  });

export const frontStays: Scene = async (recorded) => {
  const after = await withSimulator(PACED, async ({ url, faults }) => {
    faults.set({ fault: 'engine-dead' });
    const asked = await Promise.all(['/health', '/v1/models', '/metrics'].map((path) => ask(url, path)));
    const news = await Promise.all([false, true].map((stream) => chatCall(url, { ...LONG_STREAM, stream })));
    return [...asked, ...news].map(({ status }) => status);
  });
  return [...(await struck({ fault: 'engine-dead' })(recorded)), ...differ('status', [503, 200, 200, 500, 500], after)];
};

/** Draining: the running go on, new ones get 500, `/health` is well, and what is unfinished in time falls silent. */
export const drains: Scene = ({ request, response }) =>
  withSimulator(PACED, async ({ url, faults }) => {
    const calls = await startCalls(url, request.bodies ?? [], SILENT_MS);
    faults.set({ fault: 'sigterm-drain', ms: SILENT_MS / 4 });
    const asked = await ask(url, '/health');
    const fresh = await chatCall(url, LONG_STREAM);
    const [seen] = response.new_calls as {
      '/health': Received;
      new_call: { headers: [string, string][]; status: number };
    }[];
    const names = (headers: readonly string[]): string[] => headers.toSorted();
    return [
      ...differ('status', [seen?.['/health'].status, seen?.new_call.status], [asked.status, fresh.status]),
      ...differ(
        'headers',
        names((seen?.new_call.headers ?? []).map(([name]) => name)),
        names([...fresh.headers.keys()]),
      ),
      ...kindsOfCalls((response.calls ?? []).map(recordedOutcome), (await Promise.all(calls)).map(outcomeOf)),
    ];
  });

/** Draining with time enough for the first four calls: they end well, and those that took their slots do not. */
export const drainsInTime: Scene = ({ request, response }) =>
  withSimulator({ ...PACED, decodeBaseMs: 1 }, async ({ url, faults }) => {
    const calls = await startCalls(url, request.bodies ?? [], 5000);
    faults.set({ fault: 'sigterm-drain', ms: 60_000 });
    await until(async () => (await gauges(url)).ended === 4);
    faults.set({ fault: 'sigterm-silent' });
    return kindsOfCalls((response.calls ?? []).map(recordedOutcome), (await Promise.all(calls)).map(outcomeOf));
  });

/** SIGTERM is a race with two endings; both are recorded, and each is one fault. */
export const bothEndings: Scene = async ({ request, response }) => {
  const pattern = ({ status, chunks, body, ended }: Received): unknown => {
    const said = (chunks ?? []).join('') + body;
    return { ended, head: status, abort: said.includes('"finish_reason":"abort"'), done: said.includes('[DONE]') };
  };
  const simulated = await Promise.all(
    (['sigterm-abort', 'sigterm-silent'] as const).map((fault) =>
      withSimulator(PACED, async ({ url, faults }) => {
        const calls = await startCalls(url, request.bodies ?? [], SILENT_MS);
        await until(async () => (await gauges(url)).generated > 40);
        faults.set({ fault });
        return (await Promise.all(calls)).map(pattern);
      }),
    ),
  );
  const trials = response.trials as { calls: unknown[] }[];
  return differ('events', distinct(trials.flatMap(({ calls }) => calls)), distinct(simulated.flat()));
};
