import { readdir, readFile, truncate, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { callsToSettle, decodeLine, encodeLine, NewerRecord } from './journal.ts';
import { FileJournal, readJournal, setDamagedAside } from './journal-files.ts';
import { columnsOf, recordOf } from './record.ts';
import { testDirectory } from './testing.ts';

const call = (id: string, charged = '0') => recordOf({ id, charged_nanousd: charged, outcome: 'complete' });

/** A segment with three closed calls, and the path of its file. */
async function writtenSegment(directory: string): Promise<string> {
  const journal = new FileJournal(directory, { level: 'page' });
  for (const id of ['a', 'b', 'c']) journal.append('close', call(id));
  expect(await journal.flushed()).toBe(true);
  await journal.close();
  return join(directory, '00000001.log');
}

test.each(['page', 'disk'] as const)(
  'at level %s, what was flushed is in the file, in the order of writing',
  async (level) => {
    await using directory = await testDirectory();
    const journal = new FileJournal(directory.path, { level });
    journal.append('open', call('a'));
    journal.append('close', call('a', '5'));
    const first = journal.flushed();
    expect(await first).toBe(true);
    journal.append('close', call('b', '6'));
    expect(await journal.flushed()).toBe(true);
    expect(await journal.flushed()).toBe(true);
    const { records, damage } = readJournal(directory.path);
    expect(records.map(({ kind, callId }) => `${kind} ${callId}`)).toEqual(['open a', 'close a', 'close b']);
    expect(damage).toEqual([]);
    await journal.close();
  },
);

test('all records of one turn share one write and one promise', async () => {
  await using directory = await testDirectory();
  const journal = new FileJournal(directory.path, { level: 'page' });
  journal.append('close', call('a'));
  const first = journal.flushed();
  journal.append('close', call('b'));
  expect(journal.flushed()).toBe(first);
  await first;
  await journal.close();
});

test('a torn tail is reported, and what stands before it is read', async () => {
  await using directory = await testDirectory();
  const file = await writtenSegment(directory.path);
  const { length } = await readFile(file);
  await truncate(file, length - 10);
  const { records, damage } = readJournal(directory.path);
  expect(records.map(({ callId }) => callId)).toEqual(['a', 'b']);
  expect(damage).toEqual([{ segment: 1, line: 3, kind: 'torn' }]);
});

test('a flipped bit, wherever it is, is reported and never read as a record', async () => {
  await using directory = await testDirectory();
  const file = await writtenSegment(directory.path);
  const bytes = await readFile(file);
  await fc.assert(
    fc.asyncProperty(fc.nat(bytes.length - 1), fc.nat(7), async (at, bit) => {
      const flipped = Buffer.from(bytes);
      flipped[at] = (bytes[at] ?? 0) ^ (1 << bit);
      await writeFile(file, flipped);
      const { records, damage } = readJournal(directory.path);
      expect(damage.length).toBeGreaterThan(0);
      const written = ['a', 'b', 'c'].map((id) => call(id));
      for (const record of records) expect(written).toContain(record.call);
    }),
    { numRuns: 200 },
  );
});

test('a record whose newline alone was hit is read, and the damage reported', async () => {
  await using directory = await testDirectory();
  const file = await writtenSegment(directory.path);
  const bytes = await readFile(file);
  await writeFile(file, Buffer.concat([bytes.subarray(0, -1), Buffer.from([0x8a])]));
  const { records, damage } = readJournal(directory.path);
  expect(records.map(({ callId }) => callId)).toEqual(['a', 'b', 'c']);
  expect(damage).toEqual([{ segment: 1, line: 3, kind: 'corrupt' }]);
});

test('a segment with a corrupt line is put aside and kept, a torn one is not', async () => {
  await using directory = await testDirectory();
  const file = await writtenSegment(directory.path);
  await writeFile(file, (await readFile(file, 'utf8')).replace('"b"', '"x"'));
  const { damage } = readJournal(directory.path);
  expect(damage).toEqual([{ segment: 1, line: 2, kind: 'corrupt' }]);
  setDamagedAside(directory.path, damage);
  await new FileJournal(directory.path, { level: 'page' }).close();
  expect(await readdir(directory.path)).toEqual(['00000001.damaged', '00000002.log']);
});

test('a segment is retired when all calls that began up to it are settled, and removed a day later', async () => {
  await using directory = await testDirectory();
  const journal = new FileJournal(directory.path, { level: 'page', segmentBytesMax: 1 });
  const write = async (id: string) => {
    const segment = journal.begin();
    journal.append('close', call(id));
    await journal.flushed();
    return segment;
  };
  const [first, second] = [await write('a'), await write('b')];
  expect([first, second]).toEqual([1, 2]);
  journal.settled(second, 1);
  await write('c');
  expect(await readdir(directory.path)).toEqual(['00000001.log', '00000002.log', '00000003.log', '00000004.log']);
  journal.settled(first, 1);
  await write('d');
  expect(await readdir(directory.path)).toEqual(
    ['00000001.settled', '00000002.settled', '00000003.log', '00000004.log', '00000005.log'], // 3 and 4 are not settled
  );
  const yesterday = new Date(Date.now() - 25 * 60 * 60 * 1_000);
  await utimes(join(directory.path, '00000001.settled'), yesterday, yesterday);
  await write('e');
  expect(await readdir(directory.path)).not.toContain('00000001.settled');
  await journal.close();
});

test('each start writes to a segment of its own, and keeps those before it until it is told that they are settled', async () => {
  await using directory = await testDirectory();
  await writtenSegment(directory.path);
  const journal = new FileJournal(directory.path, { level: 'page', segmentBytesMax: 1 });
  journal.append('close', call('d'));
  expect(await journal.flushed()).toBe(true);
  expect(await readdir(directory.path)).toEqual(['00000001.log', '00000002.settled', '00000003.log']);
  journal.retireEarlier();
  await journal.close();
  expect(await readdir(directory.path)).toEqual(['00000001.settled', '00000002.settled', '00000003.log']);
});

test('a line is read as it was written, or not at all', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.constantFrom('open' as const, 'close' as const), (text, kind) => {
      const record = JSON.stringify(['a', text]);
      const line = encodeLine(kind, record);
      expect(line).not.toContain('\n');
      expect(decodeLine(line)).toEqual({ kind, callId: 'a', call: record });
      expect(decodeLine(line.slice(0, -1))).toBeNull();
      expect(decodeLine(` ${line}`)).toBeNull();
    }),
  );
});

test('a call without a close is aborted at its last record; a close is final', () => {
  const record = (kind: 'open' | 'progress' | 'close', callId: string, charged: string) => ({
    kind,
    callId,
    call: call(callId, charged),
  });
  const texts = callsToSettle([
    record('open', 'a', '0'),
    record('progress', 'a', '3'),
    record('open', 'b', '0'),
    record('close', 'b', '9'),
    record('progress', 'b', '4'),
    record('open', 'c', '0'),
  ]);
  expect(texts.map(columnsOf)).toEqual([
    { ...columnsOf(call('a', '3')), outcome: 'aborted' },
    { ...columnsOf(call('b', '9')), outcome: 'complete' },
    { ...columnsOf(call('c', '0')), outcome: 'aborted' },
  ]);
});

test.each([
  [
    '5f313f59 {"v":1,"kind":"close","call":{"id":"0198f3a0-0000-7000-8000-000000000001","charged_nanousd":"5"}}',
    'close',
    '["0198f3a0-0000-7000-8000-000000000001",null,null,null,null,null,null,null,null,null,null,null,null,null,null,null,null,"5",null,null,null,null,null]',
  ],
  [
    '4d3bbc1d {"v":2,"kind":"open","call":{"id":"0198f3a0-0000-7000-8000-000000000002","account_id":"acct_1","key_id":"key_1","lease_id":"lse_1","endpoint":"chat","model":"test-model","streamed":false,"held_nanousd":"500","price_version":1}}',
    'open',
    '["0198f3a0-0000-7000-8000-000000000002","acct_1","key_1","lse_1","chat","test-model",false,"500",1]',
  ],
  [
    'f0b9aa1b {"v":2,"kind":"close","call":{"id":"0198f3a0-0000-7000-8000-000000000002","account_id":"acct_1","key_id":"key_1","lease_id":"lse_1","endpoint":"chat","model":"test-model","streamed":false,"held_nanousd":"500","price_version":1,"worker_id":"wrk_test","operator_id":null,"region":"test","outcome":"complete","attempts":1,"prompt_tokens":7,"cached_tokens":0,"completion_tokens":9,"charged_nanousd":"9","operator_nanousd":"4","queue_ms":1,"ttft_ms":2,"billed_ms":3,"total_ms":4}}',
    'close',
    '["0198f3a0-0000-7000-8000-000000000002","acct_1","key_1","lse_1","chat","test-model",false,"500",1,"wrk_test",null,"test","complete",1,7,0,9,"9","4",1,2,3,4]',
  ],
])('records of every release so far are read: %s', (line, kind, call) => {
  expect(decodeLine(line)).toEqual({ kind, callId: columnsOf(call).id, call });
});

test('a sound record of a newer release is neither skipped nor misread', () => {
  const json = '{"v":1000,"kind":"close","call":{"id":"a"}}';
  expect(() => decodeLine(`${crc32(json).toString(16).padStart(8, '0')} ${json}`)).toThrow(NewerRecord);
});
