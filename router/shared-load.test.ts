import fc from 'fast-check';
import { expect, test } from 'vitest';
import { fleetOf, idOf, record, reserve, workerOf } from './pick-testing.ts';
import { SharedLoad } from './shared-load.ts';

/** Gateways on one fleet, and a line between them that can be cut. */
function gateways(count: number) {
  const clock = { nowMs: 0 };
  const line = { isCut: false, messages: 0 };
  const peers = Array.from({ length: count }, (_, index) => {
    const { fleet } = fleetOf([record('a', { slots: 64 }), record('b', { slots: 64 })], clock);
    const publish = (message: string) => {
      line.messages += 1;
      if (!line.isCut) for (const peer of peers) peer.shared.receive(message);
    };
    return { fleet, shared: new SharedLoad({ fleet, id: `g${index}`, publish }) };
  });
  const tick = (ms = 200) => {
    clock.nowMs += ms;
    for (const { shared } of peers) shared.tick();
  };
  const elsewhere = (index: number) => peers.map(({ fleet }) => fleet.all().map((worker) => worker.elsewhere))[index];
  return { peers, line, tick, elsewhere, clock };
}

const nothing = { inFlight: 0, waiting: 0, waitingTokens: 0 };

test('I25 what one gateway has running counts at the others, and after its end no more', () => {
  const { peers, tick, elsewhere, clock } = gateways(2);
  const [one, other] = peers;
  if (one === undefined || other === undefined) throw new Error('nobody there');
  const held = Array.from({ length: 4 }, () => reserve(one.fleet, { promptTokens: 100 }));
  held[0]?.firstContent(10, clock.nowMs);
  tick();
  const [a, b] = elsewhere(1) ?? [];
  expect((a?.inFlight ?? 0) + (b?.inFlight ?? 0)).toBe(4);
  expect((a?.waiting ?? 0) + (b?.waiting ?? 0)).toBe(3);
  expect((a?.waitingTokens ?? 0) + (b?.waitingTokens ?? 0)).toBe(300);
  expect(elsewhere(0)).toEqual([nothing, nothing]);
  for (const one of held) one.release(clock.nowMs);
  tick();
  expect(elsewhere(1)).toEqual([nothing, nothing]);
});

test('two gateways that serve a burst together do not send it to the same worker', () => {
  const { peers, tick } = gateways(2);
  for (let call = 0; call < 20; call += 1) {
    const fleet = peers[call % 2]?.fleet;
    if (fleet !== undefined) reserve(fleet, { promptTokens: 1_000 });
    tick();
  }
  const total = (id: string) => peers.reduce((sum, { fleet }) => sum + workerOf(fleet, id).inFlight, 0);
  expect(total('a')).toBe(10);
  expect(total('b')).toBe(10);
});

test('what a gateway sends it presumes of the others too, until it would have heard of it', () => {
  const { peers, tick, clock } = gateways(2);
  const held = peers.flatMap(({ fleet }) => Array.from({ length: 8 }, () => reserve(fleet, { promptTokens: 100 })));
  for (let ticks = 0; ticks < 30; ticks += 1) tick();
  const [one] = peers;
  if (one === undefined) throw new Error('nobody there');
  expect(one.fleet.othersTimes).toBeGreaterThan(0.9);
  const sent = workerOf(one.fleet, idOf(reserve(one.fleet, { promptTokens: 1_000 })));
  const presumed = sent.loadAt(clock.nowMs, one.fleet.othersTimes);
  // Its own call, and a good part of one like it that the other may have sent.
  expect(presumed.waitingTokens).toBeGreaterThan(800 + 1_500);
  clock.nowMs += 400;
  expect(sent.loadAt(clock.nowMs, one.fleet.othersTimes).waitingTokens).toBe(800 + 1_000);
  for (const reservation of held) reservation.release(clock.nowMs);
});

test('a gateway alone, or among others that run nothing, presumes nothing', () => {
  const { peers, tick, clock } = gateways(2);
  const [busy] = peers;
  if (busy === undefined) throw new Error('nobody there');
  for (let ticks = 0; ticks < 30; ticks += 1) {
    reserve(busy.fleet, { promptTokens: 1_000 });
    tick();
  }
  expect(busy.fleet.othersTimes).toBe(0);
  const inFlight = busy.fleet.all().map((worker) => worker.loadAt(clock.nowMs, busy.fleet.othersTimes).inFlight);
  expect(inFlight.reduce((sum, count) => sum + count, 0)).toBe(30);
});

test('I14 a gateway that falls silent is forgotten with its counts after 15 s; one that leaves at once', () => {
  const { peers, line, tick, elsewhere } = gateways(3);
  for (const { fleet } of peers) reserve(fleet);
  tick();
  const inFlight = () => (elsewhere(0) ?? []).reduce((sum, counts) => sum + counts.inFlight, 0);
  expect(inFlight()).toBe(2);
  peers[2]?.shared.leave();
  expect(inFlight()).toBe(1);
  line.isCut = true;
  for (let seconds = 0; seconds < 16; seconds += 1) tick(1_000);
  expect(inFlight()).toBe(0);
  line.isCut = false;
  for (let seconds = 0; seconds < 6; seconds += 1) tick(1_000);
  expect(inFlight()).toBe(2);
});

test('I21 a quiet gateway says so once in five seconds, not more', () => {
  const { line, tick } = gateways(1);
  for (let ticks = 0; ticks < 150; ticks += 1) tick();
  expect(line.messages).toBeLessThanOrEqual(7);
});

test('what is no message does no harm', () => {
  const { peers, elsewhere } = gateways(1);
  for (const text of [
    '',
    '{',
    'null',
    '{"gateway":"x"}',
    '{"gateway":"x","workers":{"a":[1,2]}}',
    '{"gateway":"x","workers":{"a":[-1,0,0]}}',
  ]) {
    peers[0]?.shared.receive(text);
  }
  peers[0]?.shared.receive('{"gateway":"x","workers":{"unknown":[1,1,1]}}');
  expect(elsewhere(0)).toEqual([nothing, nothing]);
});

test('whatever messages are lost, a quiet fleet ends with every count at exactly 0 elsewhere', () => {
  fc.assert(
    fc.property(fc.array(fc.record({ gateway: fc.nat(1), lost: fc.boolean(), ends: fc.boolean() })), (steps) => {
      const { peers, line, tick, elsewhere, clock } = gateways(2);
      const held: ReturnType<typeof reserve>[] = [];
      for (const { gateway, lost, ends } of steps) {
        line.isCut = lost;
        const fleet = peers[gateway]?.fleet;
        if (ends) held.shift()?.release(clock.nowMs);
        else if (fleet !== undefined) held.push(reserve(fleet));
        tick();
      }
      for (const one of held) one.release(clock.nowMs);
      line.isCut = false;
      for (let seconds = 0; seconds < 40; seconds += 1) tick(1_000);
      expect(elsewhere(0)).toEqual([nothing, nothing]);
      expect(elsewhere(1)).toEqual([nothing, nothing]);
    }),
  );
});
