/** What a gateway writes down about its calls before it answers: the port, and the text of one line. */
import { crc32 } from 'node:zlib';
import { cutOffText, recordOf } from './record.ts';

/** `open` before a stream is dispatched, `progress` during a stream, `close` at the end: the latter two carry the whole call as it stands. */
export type RecordKind = 'open' | 'progress' | 'close';

/** `page`: survives the death of the process. `disk`: survives the death of the machine. */
export type JournalLevel = 'page' | 'disk';

export interface Journal {
  /** Counts a call whose records begin now; answers the segment that they begin in. */
  begin(): number;
  /** Buffers a record (text by record.ts, its id first) for the write that ends this turn of the event loop. */
  append(kind: RecordKind, call: string): void;
  /** True once all that was appended is as safe as the level promises; false when it never will be. */
  flushed(): Promise<boolean>;
  /** Tells that so many calls that began in this segment are settled: a segment without unsettled calls can be retired. */
  settled(segment: number, calls: number): void;
  /** Why nothing can be written any more; null while all is well. */
  readonly failure: Error | null;
  close(): Promise<void>;
}

/** One record as read back. */
export interface JournalRecord {
  readonly kind: RecordKind;
  readonly callId: string;
  /** The text by record.ts. */
  readonly call: string;
}

/**
 * The form of a record. Whoever changes it raises this and keeps reading all forms before it: see `decodeLine`. Up to version 2 a call was an
 * object of named columns, and in version 1 an `open` too carried the whole call.
 */
const VERSION = 3;
const NAMED_VERSION_MAX = 2;
const PREFIX = /^\{"v":(\d{1,9}),"kind":"(open|progress|close)","call":/;
/** The id comes first in a call's text: a start over a long journal has no time to parse the rest. */
const CALL_ID = /^\["([^"\\]+)"/;
const CRC_DIGITS = 8;
const HEX: readonly string[] = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

/** A sound record in the form of a newer release: to start without it would give its charge away. */
export class NewerRecord extends Error {
  constructor(version: string) {
    super(
      `the journal has records of version ${version}, and this release reads them up to ${VERSION}: start the newer one`,
    );
  }
}

/** What stands before the call in each kind of record, with its CRC. */
const OPENINGS = {
  open: opening('open'),
  progress: opening('progress'),
  close: opening('close'),
} as const satisfies Record<RecordKind, object>;
const END = '}';

/** A line without its newline: the CRC-32 of the JSON in 8 hex digits, a space, the JSON. */
export function encodeLine(kind: RecordKind, call: string): string {
  const { text, crc } = OPENINGS[kind];
  // Piece by piece: reading the call makes one flat string of it, which is what waits for its settling.
  return `${digits(crc32(END, crc32(call, crc)))} ${text}${call}${END}`;
}

function opening(kind: RecordKind): { text: string; crc: number } {
  const text = `{"v":${VERSION},"kind":"${kind}","call":`;
  return { text, crc: crc32(text) };
}

/** By bytes: a number beyond 31 bits is no small integer to V8, which takes ten times as long for its digits. */
function digits(crc: number): string {
  return hex(crc >>> 24) + hex((crc >>> 16) & 0xff) + hex((crc >>> 8) & 0xff) + hex(crc & 0xff);
}

function hex(byte: number): string {
  return HEX[byte] ?? '';
}

/** The record of a line; null when the line is not as it was written. Throws NewerRecord. */
export function decodeLine(line: string): JournalRecord | null {
  const json = line.slice(CRC_DIGITS + 1);
  if (line !== `${digits(crc32(json))} ${json}`) return null;
  const [prefix = '', version = '', kind] = PREFIX.exec(json) ?? [];
  if (parseInt(version, 10) > VERSION) throw new NewerRecord(version);
  if (kind !== 'open' && kind !== 'progress' && kind !== 'close') return null;
  const text = json.slice(prefix.length, -1);
  const call = parseInt(version, 10) > NAMED_VERSION_MAX ? text : recordOf(JSON.parse(text));
  const [, callId] = CALL_ID.exec(call) ?? [];
  return callId === undefined ? null : { kind, callId, call };
}

/**
 * What remains to be settled of a journal: each call's last record. A call without a `close` was cut off by a crash, so it
 * is closed as aborted at what its last record charges.
 */
export function callsToSettle(records: Iterable<JournalRecord>): string[] {
  const last = new Map<string, JournalRecord>();
  for (const record of records) {
    if (last.get(record.callId)?.kind !== 'close') last.set(record.callId, record);
  }
  return [...last.values()].map(({ kind, call }) => (kind === 'close' ? call : cutOffText(call)));
}
