import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ByteLog } from './byte-log.ts';

test('gives back what was put in, in order, and takes no more memory than it said', () => {
  const pieces = fc.array(fc.uint8Array({ maxLength: 5_000, size: 'max' }), { maxLength: 30 });
  fc.assert(
    fc.property(pieces, (all) => {
      const log = new ByteLog();
      let granted = 0;
      for (const piece of all) {
        granted += log.growth(piece.length);
        log.append(piece);
      }
      const pages = log.read();
      expect(Buffer.concat(pages).equals(Buffer.concat(all))).toBe(true);
      expect(pages.reduce((sum, { buffer }) => sum + buffer.byteLength, 0)).toBe(granted);
    }),
  );
});

test('bytes that change after they were put in do not change in it', () => {
  const log = new ByteLog();
  const bytes = Buffer.from('before');
  log.append(bytes);
  bytes.write('after!');
  expect(Buffer.concat(log.read()).toString()).toBe('before');
});
