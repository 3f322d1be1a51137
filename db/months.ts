/** Months of calls: a call's id begins with its time, so a month is a range of ids. */

/** A month of UTC. */
export interface Month {
  /** `2026-11` */
  readonly name: string;
  readonly partition: string;
  /** The ids of its calls are from `lowest` to before `beyond`. */
  readonly lowest: string;
  readonly beyond: string;
}

/** What refuses a call of an archived month: see archive.ts. */
export const ARCHIVED_CHECK = 'call_archived';

/** The month of a day, or one some months later or earlier. */
export function monthOf(day: Date, later = 0): Month {
  const first = (more: number) => new Date(Date.UTC(day.getUTCFullYear(), day.getUTCMonth() + later + more, 1));
  const name = first(0).toISOString().slice(0, 7);
  return { name, partition: `call_${name.replace('-', '_')}`, lowest: lowestId(first(0)), beyond: lowestId(first(1)) };
}

/** The smallest UUID that a UUIDv7 made at this time can follow (RFC 9562: the first 48 bits are Unix milliseconds). */
function lowestId(time: Date): string {
  const hex = time.getTime().toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-0000-0000-000000000000`;
}
