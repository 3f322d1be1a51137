/**
 * What the reads of one turn of the event loop brought, worked on together once all of them are done. Every read ends in the kernel and comes
 * back to cold caches: the whole code of a call after each read costs far more than that of all calls one after the other.
 */
let waiting: (() => void)[] = [];
/** When the work at hand began; null between works. */
let begunMs: number | null = null;

/** The work must not throw. */
export function afterReads(work: () => void): void {
  if (waiting.length === 0) setImmediate(workOff);
  waiting.push(work);
}

/** Monotonic milliseconds, all through one work those of its beginning: a call asks for them twenty times, and each look at the clock costs as much as what it is for. */
export function now(): number {
  return begunMs ?? performance.now();
}

/** Sets `now` right in the middle of a work, which may have been long until here. */
export function lookAtClock(): void {
  if (begunMs !== null) begunMs = performance.now();
}

function workOff(): void {
  const works = waiting;
  waiting = [];
  for (const work of works) {
    begunMs = performance.now();
    work();
  }
  begunMs = null;
}
