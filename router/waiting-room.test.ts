import { expect, test } from 'vitest';
import { WaitingRoom } from './waiting-room.ts';

const never = new AbortController().signal;
const soon = () => performance.now() + 5_000;

test('who must begin first is asked in first, whenever it came', async () => {
  const room = new WaitingRoom(() => performance.now());
  const order: string[] = [];
  const wait = (name: string, untilMs: number) => room.wait('m', untilMs, never).then(() => order.push(name));
  const all = [wait('late', soon() + 900), wait('early', soon()), wait('middle', soon() + 300)];
  expect(room.waiting('m')).toBe(3);
  room.freed('other');
  expect(room.waiting('m')).toBe(3);
  room.freed('m');
  await Promise.all(all);
  expect(order).toEqual(['early', 'middle', 'late']);
  expect(room.waiting('m')).toBe(0);
});

test('nobody waits beyond its time or after its caller has left, and all are told to look now and then', async () => {
  const room = new WaitingRoom(() => performance.now());
  const control = new AbortController();
  const left = room.wait('m', soon(), control.signal);
  const late = room.wait('m', performance.now() + 20, never);
  control.abort();
  expect(await left).toBe(false);
  expect(await late).toBe(false);
  expect(await room.wait('m', performance.now() - 1, never)).toBe(false);
  expect(await room.wait('m', soon(), never)).toBe(true);
});

test('the room is bounded: who finds no seat is told so at once', async () => {
  const room = new WaitingRoom(() => performance.now());
  const control = new AbortController();
  const seated = Array.from({ length: 1_024 }, () => room.wait('m', soon(), control.signal));
  expect(await room.wait('m', soon(), never)).toBe(false);
  control.abort();
  expect(new Set(await Promise.all(seated))).toEqual(new Set([false]));
});
