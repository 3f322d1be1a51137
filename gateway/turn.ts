/**
 * What the reads of one turn of the event loop brought, worked on together once all of them are done. Every read ends in the kernel and comes
 * back to cold caches: the whole code of a call after each read costs far more than that of all calls one after the other.
 */
let waiting: (() => void)[] = [];

/** The work must not throw. */
export function afterReads(work: () => void): void {
  if (waiting.length === 0) setImmediate(workOff);
  waiting.push(work);
}

function workOff(): void {
  const works = waiting;
  waiting = [];
  for (const work of works) work();
}
