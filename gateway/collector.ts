import { setFlagsFromString } from 'node:v8';

/** Fits V8's garbage collector to a gateway, whose calls leave much garbage and live for a moment. Before anything else runs. */
export function tuneCollector(): void {
  // Young garbage is collected on the thread that made it: handing it to helpers costs a busy core more than it saves.
  setFlagsFromString('--no-parallel-scavenge');
  // While the young generation is still small, the calls in flight fill it and V8 concludes that such objects live long. It would then make
  // them old from their birth, and whatever they point to outlives every young collection: a sixth of all garbage did (see also payments/open-list.ts).
  setFlagsFromString('--no-allocation-site-pretenuring');
  // A full collection walks all that lives. On a core that is a gateway's own, V8's helpers take it from the calls meanwhile, which then wait 60 to
  // 100 ms; and of a heap as small as this, V8 begins one every few seconds. So only when it is four times what lived, as V8 has it of large ones.
  setFlagsFromString('--heap-growing-percent=300');
}
