/** The unit of all money here: nano-USD (10^-9 US dollar) as a whole number. No float ever touches an amount. */
export type Nanousd = bigint;

/** The largest amount that Postgres can store in a `bigint`. */
const LARGEST_NANOUSD = 9_223_372_036_854_775_807n;
const USD_DECIMALS = 9;

/** Reads a whole decimal amount of nano-USD such as `"1500"`; null when it is anything else, negative or too large. */
export function parseNanousd(text: string): Nanousd | null {
  if (!/^(0|[1-9][0-9]{0,18})$/.test(text)) return null;
  const amount = BigInt(text);
  return amount <= LARGEST_NANOUSD ? amount : null;
}

/** The exact decimal literal of an amount in US dollars: 1234n is `"0.000001234"`, 2_500_000_000n is `"2.5"`. */
export function usdLiteral(amount: Nanousd): string {
  const sign = amount < 0n ? '-' : '';
  const size = amount < 0n ? -amount : amount;
  const digits = size.toString().padStart(USD_DECIMALS + 1, '0');
  const point = digits.length - USD_DECIMALS;
  let end = digits.length;
  while (end > point && digits.endsWith('0', end)) end--;
  return `${sign}${digits.slice(0, point)}${end > point ? `.${digits.slice(point, end)}` : ''}`;
}

/** The lesser of two amounts. */
export function least(a: Nanousd, b: Nanousd): Nanousd {
  return a < b ? a : b;
}
