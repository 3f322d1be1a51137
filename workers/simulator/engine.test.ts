import { describe, expect, test } from 'vitest';
import { BlockPool } from './blocks.ts';
import { VirtualClock } from './clock.ts';
import { Engine, type Speed } from './engine.ts';
import type { Job } from './sequence.ts';

/** A millisecond per prompt token; a decoding step takes 10 ms and 1 ms for each sequence in it. */
const SPEED: Speed = { prefillTokensPerSecond: 1000, chunkTokens: 100, decodeBaseMs: 10, decodePerRequestMs: 1 };

interface Told extends Job {
  readonly saidAtMs: number[];
  readonly log: { cached: number; preempted: number };
}

function world({ speed = SPEED, slots = 4, blocks = 1000, byPriority = false } = {}) {
  const clock = new VirtualClock();
  const pool = new BlockPool(blocks, 16);
  const engine = new Engine(speed, slots, pool, clock, { byPriority });
  const job = (
    promptTokens: number,
    tokens: number,
    more: { salt?: string; priority?: number; from?: number } = {},
  ): Told => {
    const saidAtMs: number[] = [];
    const log = { cached: 0, preempted: 0 };
    return {
      saidAtMs,
      log,
      promptIds: Array.from({ length: promptTokens }, (_, at) => (more.from ?? 0) + at),
      salt: more.salt ?? '',
      priority: more.priority ?? 0,
      onScheduled: (cached) => {
        log.cached = cached;
      },
      onPreempted: () => {
        log.preempted += 1;
      },
      sample: () => {
        saidAtMs.push(Math.round(clock.nowMs()));
        return { id: 7 + saidAtMs.length, finished: saidAtMs.length === tokens };
      },
    };
  };
  const add = (told: Told): Told => {
    engine.add(told);
    return told;
  };
  return { clock, pool, engine, job, add };
}

describe('time', () => {
  test('the first token comes when the whole prompt is computed, the others a step apart', () => {
    const { clock, add, job } = world();
    const alone = add(job(50, 3));
    clock.advance(1000);
    expect(alone.saidAtMs).toEqual([50, 61, 72]);
  });

  test('a prompt longer than a step is computed in chunks', () => {
    const { clock, engine, add, job } = world();
    const long = add(job(250, 1));
    clock.advance(1000);
    expect(long.saidAtMs).toEqual([250]);
    expect(engine.totals.steps).toBe(3);
  });

  test('another prompt slows down those that speak already', () => {
    const { clock, add, job } = world();
    const first = add(job(10, 3, { from: 1000 }));
    clock.advance(15);
    const second = add(job(80, 1, { from: 2000 }));
    clock.advance(1000);
    // The step from 21 ms on decodes for the first and computes the whole prompt of the second.
    expect(first.saidAtMs).toEqual([10, 21, 21 + 80 + 11]);
    expect(second.saidAtMs).toEqual([21 + 80 + 11]);
  });

  test('each sequence in the batch makes every step longer', () => {
    const { clock, add, job } = world({ slots: 8 });
    const together = Array.from({ length: 8 }, (_, at) => add(job(10, 2, { from: 1000 * at })));
    clock.advance(1000);
    expect(together[0]?.saidAtMs).toEqual([80, 80 + 18]);
  });
});

describe('the queue', () => {
  test('the fifth of five waits until one of four slots is free', () => {
    const { clock, engine, add, job } = world();
    const [first, , , , fifth] = Array.from({ length: 5 }, (_, at) => add(job(10, 5, { from: 1000 * at })));
    clock.advance(50);
    expect([engine.runningCount, engine.waitingCount]).toEqual([4, 1]);
    clock.advance(1000);
    expect(fifth?.saidAtMs[0]).toBeGreaterThan(first?.saidAtMs.at(-1) ?? Number.POSITIVE_INFINITY);
    expect([engine.runningCount, engine.waitingCount]).toEqual([0, 0]);
  });

  test('a job that is removed frees its slot for the next step', () => {
    const { clock, engine, add, job } = world({ slots: 1 });
    const endless = add(job(10, 1_000_000));
    const next = add(job(10, 1, { from: 1000 }));
    clock.advance(100);
    engine.remove(endless);
    expect(engine.runningCount).toBe(0);
    clock.advance(30);
    expect(next.saidAtMs).toHaveLength(1);
    const said = endless.saidAtMs.length;
    clock.advance(1000);
    expect(endless.saidAtMs).toHaveLength(said);
  });

  test('a job that is removed from the queue never runs', () => {
    const { clock, engine, add, job } = world({ slots: 1 });
    add(job(10, 5));
    const waiting = add(job(10, 5, { from: 1000 }));
    engine.remove(waiting);
    clock.advance(1000);
    expect(waiting.saidAtMs).toEqual([]);
  });

  test('lower priority runs first where the policy heeds it, and arrival decides where it does not', () => {
    const orders = [true, false].map((byPriority) => {
      const { clock, add, job } = world({ slots: 1, byPriority });
      add(job(10, 2, { from: 500 }));
      clock.advance(5);
      const jobs = [5, 0, -5].map((priority, at) => add(job(10, 1, { priority, from: 1000 * (at + 1) })));
      clock.advance(1000);
      return jobs.toSorted((a, b) => (a.saidAtMs[0] ?? 0) - (b.saidAtMs[0] ?? 0)).map(({ priority }) => priority);
    });
    expect(orders).toEqual([
      [-5, 0, 5],
      [5, 0, -5],
    ]);
  });

  test('a frozen engine says nothing, and goes on where it was', () => {
    const { clock, engine, add, job } = world();
    const frozen = add(job(10, 3));
    clock.advance(12);
    engine.freeze();
    clock.advance(10_000);
    expect(frozen.saidAtMs).toEqual([10]);
    engine.thaw();
    clock.advance(1000);
    expect(frozen.saidAtMs).toHaveLength(3);
  });
});

describe('the prefix cache', () => {
  test('the same prompt again is computed only from its last block on', () => {
    const { clock, engine, add, job } = world();
    add(job(100, 1));
    clock.advance(1000);
    const again = add(job(100, 1));
    clock.advance(1000);
    expect(again.log.cached).toBe(96);
    expect(again.saidAtMs).toEqual([1000 + 4]);
    expect(engine.totals).toMatchObject({ promptTokens: 104, cachedTokens: 96 });
  });

  test('at least one token of a prompt is always computed', () => {
    const { clock, add, job } = world();
    add(job(96, 1));
    clock.advance(1000);
    const again = add(job(96, 1));
    clock.advance(1000);
    expect(again.log.cached).toBe(80);
  });

  test('another salt shares nothing', () => {
    const { clock, add, job } = world();
    add(job(100, 1, { salt: 'a' }));
    clock.advance(1000);
    const [other, same] = [add(job(100, 1, { salt: 'b' })), add(job(100, 1, { salt: 'a' }))];
    clock.advance(1000);
    expect([other.log.cached, same.log.cached]).toEqual([0, 96]);
  });

  test('a prompt that goes on from an answer finds the answer cached as well', () => {
    const { clock, add, job } = world();
    const first = add(job(32, 33));
    clock.advance(1000);
    const said = first.saidAtMs.map((_, at) => 8 + at);
    const next = { ...job(0, 1), promptIds: [...first.promptIds, ...said, 1, 2, 3] };
    add(next);
    clock.advance(1000);
    expect(next.log.cached).toBe(64);
  });

  test('when room is needed, what was unused longest is forgotten first', () => {
    const { clock, add, job } = world({ blocks: 12 });
    for (const from of [1000, 2000]) {
      add(job(64, 1, { from }));
      clock.advance(1000);
    }
    add(job(112, 1, { from: 3000 }));
    clock.advance(1000);
    const [recent, old] = [2000, 1000].map((from) => {
      const again = add(job(64, 1, { from }));
      clock.advance(1000);
      return again.log.cached;
    });
    expect(recent).toBe(48);
    expect(old).toBeLessThan(48);
  });

  test('a full cache preempts the newest sequence, which still says all it has to say', () => {
    const { clock, engine, pool, add, job } = world({ blocks: 8 });
    const [first, second] = [add(job(48, 60, { from: 1000 })), add(job(48, 60, { from: 2000 }))];
    clock.advance(10_000);
    expect([first.log.preempted, second.log.preempted > 0]).toEqual([0, true]);
    expect(engine.totals.preemptions).toBe(second.log.preempted);
    expect([first.saidAtMs.length, second.saidAtMs.length]).toEqual([60, 60]);
    expect(pool.usage).toBe(0);
  });
});

test('a thousand random jobs, some of them given up, leave no slot and no block behind', () => {
  const { clock, engine, pool, job } = world({ slots: 8, blocks: 60 });
  let state = 1;
  const next = (below: number): number => {
    state = (state * 48_271) % 2_147_483_647;
    return state % below;
  };
  for (let made = 0; made < 1000; made += 1) {
    const one = job(1 + next(200), 1 + next(50), { from: 1000 * next(20) });
    engine.add(one);
    clock.advance(next(60));
    if (next(4) === 0) {
      engine.remove(one);
    }
  }
  clock.advance(10_000_000);
  expect([engine.runningCount, engine.waitingCount, pool.usage, engine.backlogTokens]).toEqual([0, 0, 0, 0]);
});
