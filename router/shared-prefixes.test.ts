import { Buffer } from 'node:buffer';
import { expect, test } from 'vitest';
import { fleetOf, idOf, record, reserve, wishing } from './pick-testing.ts';
import { prefixOf } from './prefix.ts';
import { SharedPrefixes } from './shared-prefixes.ts';

function gateways() {
  const messages: string[] = [];
  const peers = [0, 1].map((index) => {
    const { fleet } = fleetOf(['a', 'b', 'c', 'd'].map((id) => record(id, { slots: 64 })));
    return {
      fleet,
      shared: new SharedPrefixes({ fleet, id: `g${index}`, publish: (text) => void messages.push(text) }),
    };
  });
  const [one, other] = peers;
  if (one === undefined || other === undefined) throw new Error('nobody there');
  const tell = () => {
    for (const { shared } of peers) shared.tick();
    for (const text of messages.splice(0)) for (const { shared } of peers) shared.receive(text);
  };
  return { one, other, messages, tell };
}

const turn = (blocks: number) => prefixOf('tenant', [Buffer.alloc(blocks * 1_024, 'conversation ')]);
const long = (blocks: number) => ({ ...wishing({ sort: 'ttft' }), promptTokens: blocks * 256, prefix: turn(blocks) });

test('the next turn of a conversation finds its cache through another gateway too', () => {
  const { one, other, tell } = gateways();
  const home = reserve(one.fleet, long(12));
  home.firstContent(100, 0);
  home.release(0);
  expect(other.fleet.get(idOf(home))?.mirror.knownShare(turn(12))).toBe(0);
  tell();
  expect(other.fleet.get(idOf(home))?.mirror.knownShare(turn(12))).toBe(1);
  expect(idOf(reserve(other.fleet, long(14)))).toBe(idOf(home));
});

test('only what is new is told, and never more than fits into one notification', () => {
  const { one, messages } = gateways();
  reserve(one.fleet, long(12)).release(0);
  one.shared.tick();
  const [first] = messages.splice(0);
  reserve(one.fleet, long(13)).release(0);
  one.shared.tick();
  expect(messages[0]?.length).toBeLessThan((first?.length ?? 0) / 1.3);
  for (let call = 0; call < 1_000; call += 1) {
    const prefix = prefixOf(`tenant ${call}`, [Buffer.alloc(20_000, 'x')]);
    reserve(one.fleet, { promptTokens: 5_000, prefix }).release(0);
  }
  messages.length = 0;
  one.shared.tick();
  one.shared.tick();
  expect(messages).toHaveLength(1);
  expect(messages[0]?.length).toBeLessThan(8_000);
});

test('what is no message does no harm', () => {
  const { one, other } = gateways();
  for (const text of [
    '',
    '{}',
    '[]',
    '{"gateway":"x","chains":[["a",1,2]]}',
    '{"gateway":"x","chains":[["nobody","AAAA",5]]}',
  ]) {
    other.shared.receive(text);
  }
  expect(other.fleet.all().map(({ mirror }) => mirror.size)).toEqual([0, 0, 0, 0]);
  expect(one.fleet.all()).toHaveLength(4);
});
