/** USDC counts in millionths of a dollar, the ledger in thousand times less: the one place that leads from one to the other. */
import type { Nanousd } from './money.ts';

const NANOUSD_PER_UNIT = 1_000n;

/** What so many units are worth. */
export function nanousdOf(units: bigint): Nanousd {
  return units * NANOUSD_PER_UNIT;
}

/** The fewest units that are worth an amount or more: what somebody is asked to pay. */
export function unitsFor(amount: Nanousd): bigint {
  return (amount + NANOUSD_PER_UNIT - 1n) / NANOUSD_PER_UNIT;
}

/** The most units that an amount buys: what somebody is paid out. The rest, less than one unit, stays where it was. */
export function unitsWithin(amount: Nanousd): bigint {
  return amount / NANOUSD_PER_UNIT;
}
