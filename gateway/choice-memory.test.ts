import { expect, test } from 'vitest';
import { Candidates } from '../router/candidates.ts';
import type { Worker } from '../router/worker.ts';
import { ChoiceMemory } from './choice-memory.ts';

/** A choice among so many workers, the second of which is full: its numbers tell it from all others. */
function choice(number: number, workers: number): Candidates {
  const candidates = new Candidates(Array.from({ length: workers }, () => ({ number }) as unknown as Worker));
  const prediction = {
    ttftMs: number,
    slotWaitMs: 0.5,
    promptsWaitMs: 1,
    perTokenMs: 2,
    totalMs: number + 9,
    delayMs: 3,
  };
  for (let at = 0; at < workers; at++) {
    if (at === 1) candidates.refuse(at, 'load');
    else candidates.note(at, prediction, at, number + at);
  }
  return candidates;
}

test('of the last thousand choices each is told as it was, whatever stood in its place before', () => {
  const memory = new ChoiceMemory();
  const sizes = [3, 1, 0, 5, 2, 4, 1];
  const size = (number: number) => sizes[number % sizes.length] ?? 0;
  for (let number = 0; number < 2_500; number++) memory.note(`call ${number}`, choice(number, size(number)));
  for (let number = 1_500; number < 2_500; number++) {
    const [told, ...more] = memory.of(`call ${number}`) ?? [];
    expect([...(told ?? [])]).toEqual([...choice(number, size(number))]);
    expect(more).toEqual([]);
  }
  expect(memory.of('call 1499')).toBeUndefined();
});

test('the choices of a call and of its retry are told in their order, and do not change when what was noted does', () => {
  const memory = new ChoiceMemory();
  const first = choice(1, 2);
  memory.note('call', first);
  memory.note('call', choice(2, 3));
  first.refuse(0, 'load');
  expect(memory.of('call')?.map((told) => [...told])).toEqual([[...choice(1, 2)], [...choice(2, 3)]]);
});
