/**
 * Calls that wait in the gateway because every worker of their model is full. Who must begin first is asked in first; and the choice of the
 * worker is made when there is room, not before. Bounded, and nobody waits longer than was agreed.
 */
import type { EndSignal } from './ending.ts';

interface Seat {
  readonly untilMs: number;
  /** True: look again. False: the time is over, or the caller has left. */
  readonly leave: (there: boolean) => void;
}

const SEATS_MAX = 1_024;
/** Room appears in other ways too than by a call that ends: a worker has rested, came back, or is new. */
const LOOK_EVERY_MS = 100;
/** How many are asked in at once: the first may want a worker that is still full. */
const ASKED_IN_MAX = 16;

export class WaitingRoom {
  readonly #now: () => number;
  /** By model, the earliest first. */
  readonly #seats = new Map<string, Seat[]>();
  #size = 0;
  #timer: ReturnType<typeof setInterval> | undefined;

  /** `now` is a monotonic clock in milliseconds. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** How many wait for a model. */
  waiting(model: string): number {
    return this.#seats.get(model)?.length ?? 0;
  }

  /** Resolves with true when it is worth to look again, with false at `untilMs`, at the signal, or at once when no seat is left. */
  wait(model: string, untilMs: number, signal: EndSignal): Promise<boolean> {
    const leftMs = untilMs - this.#now();
    if (leftMs <= 0 || signal.aborted || this.#size >= SEATS_MAX) return Promise.resolve(false);
    return new Promise((resolve) => {
      const leave = (there: boolean) => {
        clearTimeout(timer);
        signal.removeEventListener('abort', giveUp);
        if (this.#remove(model, seat)) resolve(there);
      };
      const giveUp = () => leave(false);
      const seat: Seat = { untilMs, leave };
      const timer = setTimeout(giveUp, leftMs);
      signal.addEventListener('abort', giveUp);
      this.#add(model, seat);
    });
  }

  /** There may be room: those who must begin first look again, in that order. */
  freed(model: string): void {
    for (const seat of this.#seats.get(model)?.slice(0, ASKED_IN_MAX) ?? []) seat.leave(true);
  }

  #add(model: string, seat: Seat): void {
    const seats = this.#seats.get(model) ?? [];
    const at = seats.findLastIndex(({ untilMs }) => untilMs <= seat.untilMs) + 1;
    seats.splice(at, 0, seat);
    this.#seats.set(model, seats);
    this.#size += 1;
    this.#timer ??= setInterval(() => {
      for (const waited of [...this.#seats.keys()]) this.freed(waited);
    }, LOOK_EVERY_MS);
  }

  #remove(model: string, seat: Seat): boolean {
    const seats = this.#seats.get(model) ?? [];
    const at = seats.indexOf(seat);
    if (at < 0) return false;
    seats.splice(at, 1);
    if (seats.length === 0) this.#seats.delete(model);
    this.#size -= 1;
    if (this.#size === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
    return true;
  }
}
