import { expect, test } from 'vitest';
import { type EndControl, Ending } from './ending.ts';

test.each([
  ['an ending', () => new Ending()],
  ['an AbortController', () => new AbortController()],
])('%s tells each listener once why it ends, and none that was taken away', (_, make: () => EndControl) => {
  const control = make();
  const heard: string[] = [];
  const leave = () => heard.push('gone');
  control.signal.addEventListener('abort', () => heard.push('first'));
  control.signal.addEventListener('abort', leave);
  control.signal.addEventListener('abort', () => heard.push('second'));
  control.signal.removeEventListener('abort', leave);
  expect(control.signal.aborted).toBe(false);
  const reason = new Error('over');
  control.abort(reason);
  control.abort(new Error('again'));
  expect(heard).toEqual(['first', 'second']);
  expect(control.signal.aborted).toBe(true);
  expect(control.signal.reason).toBe(reason);
});
