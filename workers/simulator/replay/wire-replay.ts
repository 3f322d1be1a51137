import { gzipSync } from 'node:zlib';
import { compareAnswers, compareHeads, differ, type Mismatch } from './compare.ts';
import type { WireStep } from './recordings.ts';
import { parseAnswer, RawConnection, type Received } from './wire.ts';

/** What was said on a connection: what the client sent, what came back until it sent again, and how it ended. */
interface Turn {
  readonly sent: string | null;
  readonly got: string;
  /** How long the client watched before it went on, ms. */
  readonly watchedMs: number;
  /** Whether the client hangs up next, in the middle of the answer. */
  readonly hangsUp: boolean;
}

const FIN = '(FIN: no more data from the client)';

/** Watching longer than this shows nothing new: the server closes idle connections after 5 s, or never. */
const LONGEST_WATCH_MS = 6500;

/** A turn is over when nothing came for so long. */
const QUIET_MS = 400;

/** Replays a conversation on one connection and tells what differs. */
export async function replayConversation(url: string, name: string, steps: readonly WireStep[]): Promise<Mismatch[]> {
  const connection = new RawConnection(url);
  const mismatches: Mismatch[] = [];
  for (const [at, turn] of turnsOf(steps).entries()) {
    const before = connection.bytes.length;
    send(connection, bytesOf(name, turn, at));
    await watch(connection, turn, before);
    const [recorded, simulated] = [answersIn(Buffer.from(turn.got)), answersIn(connection.bytes.subarray(before))];
    mismatches.push(...recorded.flatMap((answer, place) => compareOne(answer, simulated[place])));
  }
  const ended = steps.at(-1);
  const closed = ended?.ended?.startsWith('closed') === true;
  await connection.until(() => connection.ended !== null, closed ? 2000 : 0);
  mismatches.push(...differ('ended', closed, connection.ended !== null));
  mismatches.push(...differ('ended', wasIdle(ended, closed), wasIdle({ ms: connection.endedMs }, closed)));
  connection.close();
  return mismatches;
}

/** The recorder did not always wait for the end: of an answer that it cut short only the head is compared. */
function compareOne(recorded: Received, simulated: Received | undefined): Mismatch[] {
  if (simulated === undefined) {
    return differ('status', recorded.status, null);
  }
  return recorded.complete ? compareAnswers(recorded, simulated) : compareHeads(recorded, simulated);
}

/** Whether the server closed at once, or only after five seconds of silence. */
function wasIdle(step: WireStep | undefined, closed: boolean): boolean {
  return closed && (step?.ms ?? 0) > 4000;
}

function turnsOf(steps: readonly WireStep[]): Turn[] {
  const begins = steps.flatMap(({ sent }, at) => (at === 0 || sent !== undefined ? [at] : []));
  return begins.map((begin, turn) => {
    const own = steps.slice(begin, begins[turn + 1]);
    const next = steps[begins[turn + 1] ?? steps.length - 1];
    return {
      sent: own[0]?.sent ?? null,
      got: own.map(({ got }) => got ?? '').join(''),
      watchedMs: Math.min((next?.ms ?? 0) - (own[0]?.ms ?? 0), LONGEST_WATCH_MS),
      hangsUp: next?.sent === FIN,
    };
  });
}

async function watch(connection: RawConnection, { got, watchedMs, hangsUp }: Turn, before: number): Promise<void> {
  if (hangsUp) {
    await connection.until(() => got === '' || connection.bytes.length > before, 5000);
    return;
  }
  if (got !== '') {
    await connection.until(() => connection.bytes.length > before || connection.ended !== null, 15_000);
    const isQuiet = (): boolean => connection.ms() - connection.lastByteMs > QUIET_MS;
    await connection.until(() => isQuiet() || connection.ended !== null, 15_000);
  }
  if (got === '' || watchedMs > 1500) {
    const began = connection.lastByteMs;
    await connection.until(() => connection.ended !== null || connection.ms() - began > watchedMs, LONGEST_WATCH_MS);
  }
}

function send(connection: RawConnection, bytes: Buffer | null): void {
  if (bytes === null) {
    return;
  }
  if (bytes.toString() === FIN) {
    connection.socket.end();
  } else {
    connection.socket.write(bytes);
  }
}

/** All answers in what came. */
function answersIn(bytes: Buffer): Received[] {
  const answers: Received[] = [];
  for (let rest = bytes; rest.length > 0; ) {
    const { received, rest: left } = parseAnswer(rest, 'read');
    if (received.status === null) {
      break;
    }
    answers.push(received);
    rest = left;
  }
  return answers;
}

const FOX = 'the quick brown fox ';

/** What was sent, byte for byte: the recordings shorten long texts and cannot hold binary ones. */
function bytesOf(name: string, { sent }: Turn, at: number): Buffer | null {
  if (sent === null || at > 0) {
    return sent === null ? null : Buffer.from(sent);
  }
  const rebuilt = REBUILT[name];
  return rebuilt === undefined ? Buffer.from(sent) : rebuilt();
}

const REBUILT: Readonly<Record<string, () => Buffer>> = {
  'wire-body-5-MB-prompt': () => chat({ messages: [{ role: 'user', content: FOX.repeat(250_000) }] }),
  'wire-body-5-MB-prompt-stream': () =>
    chat({ messages: [{ role: 'user', content: FOX.repeat(250_000) }], stream: true }),
  'wire-body-5-MB-ignored-field': () => chat({ ignored: 'x'.repeat(5_000_000) }),
  'wire-body-50-MB-bad-key': () => chat({ ignored: 'x'.repeat(50_000_000) }, { Authorization: 'Bearer nope' }),
  'wire-gzip-body': () =>
    post(gzipSync(JSON.stringify({ model: 'tiny', messages: [] })), { 'Content-Encoding': 'gzip' }),
  'wire-header-60-kB': () => get({ 'X-Big': 'x'.repeat(60_000) }),
  'wire-header-5-MB': () => get({ 'X-Big': 'x'.repeat(5_000_000) }),
};

function chat(more: Record<string, unknown>, headers: Record<string, string> = {}): Buffer {
  const body = { model: 'tiny', messages: [{ role: 'user', content: 'Hello there' }], max_tokens: 2, seed: 7, ...more };
  return post(Buffer.from(JSON.stringify(body)), headers);
}

function post(body: Buffer, headers: Record<string, string>): Buffer {
  const head = { 'Content-Type': 'application/json', 'Content-Length': String(body.length), ...headers };
  return Buffer.concat([Buffer.from(requestHead('POST /v1/chat/completions', head)), body]);
}

const get = (headers: Record<string, string>): Buffer => Buffer.from(requestHead('GET /version', headers));

function requestHead(target: string, headers: Record<string, string>): string {
  const all = { Host: 'localhost', Authorization: 'Bearer test', ...headers };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${target} HTTP/1.1\r\n${lines.join('')}\r\n`;
}
