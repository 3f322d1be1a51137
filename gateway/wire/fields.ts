/** What both sides of HTTP/1.1 share: the grammar of a head's lines (RFC 9110, §5; RFC 9112, §5), without what made trouble in its history. */
import type { HeadFields } from '../head-fields.ts';

const TOKEN = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]+";

const VALUE_CHARACTERS = '\\t\\x20-\\x7e\\x80-\\xff';

/** A field's value, or a status line's reason. */
export const VALUE = `[${VALUE_CHARACTERS}]*`;

/** Lines of fields, as the source of a regular expression: names are tokens right before their colon, and no line is folded or ends in a bare LF. */
export const FIELD_LINES = `(?:${TOKEN}:${VALUE}\\r\\n)*`;

/** The empty line that ends a head, together with the end of the line before it. */
export const HEAD_END = Buffer.from('\r\n\r\n');

/** Hands out name (lower case) and value of each line of a head, as text that matched `FIELD_LINES`, from an offset on. */
export function eachField(head: string, from: number, take: (name: string, value: string) => void): void {
  for (let at = from; ; ) {
    // No CR but those that end lines has matched.
    const end = head.indexOf('\r', at);
    if (end <= at) return;
    const colon = head.indexOf(':', at);
    take(head.slice(at, colon).toLowerCase(), withoutSpaces(head, colon + 1, end));
    at = end + 2;
  }
}

/** The fields of lines that `fieldLines` wrote, or that are like them. */
export function fieldsOf(lines: string): Record<string, string> {
  const fields: Record<string, string> = {};
  eachField(lines, 0, (name, value) => {
    fields[name] = value;
  });
  return fields;
}

/** Spaces alone: of tabs and others around a value, readers think differently. */
function withoutSpaces(text: string, from: number, to: number): string {
  while (text.charCodeAt(from) === SPACE) from++;
  while (to > from && text.charCodeAt(to - 1) === SPACE) to--;
  return text.slice(from, to);
}

const SPACE = 0x20;
const forbidden = new RegExp(`[^${VALUE_CHARACTERS}]`);

/**
 * The lines of a head's fields, but for `connection`: whether that is kept is for others to say. Throws `TypeError` where a value could end its line
 * early, which no number does.
 */
export function fieldLines(fields: HeadFields): string {
  let lines = '';
  let words = '';
  for (const name in fields) {
    if (name === 'connection') continue;
    const value = fields[name] ?? '';
    if (typeof value === 'string') words += value;
    lines += `${name}: ${value}\r\n`;
  }
  // All at once: to look at each by itself costs as much as to write it.
  if (words !== '' && forbidden.test(words)) throw new TypeError('a header has a character that cannot be sent');
  return lines;
}

/** A text that becomes part of many: one that was put together of pieces would be gathered anew for each. */
export function inOnePiece(text: string): string {
  return Buffer.from(text).toString();
}

export const LENGTH_DIGITS_MAX = 15;
const lengthValue = new RegExp(`^\\d{1,${LENGTH_DIGITS_MAX}}$`);

/** A Content-Length: null where it is no plain decimal number. */
export function lengthOf(value: string): number | null {
  return lengthValue.test(value) ? Number(value) : null;
}
