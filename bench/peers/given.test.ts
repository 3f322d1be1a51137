import { describe, expect, test } from 'vitest';
import { readGiven } from './given.ts';

describe('--peer', () => {
  test('a name and an address are enough: no key, and no CPU is told', async () => {
    const { row, target } = readGiven('Bifrost, bare=http://127.0.0.1:8080/');
    expect(row).toBe('vs Bifrost, bare');
    expect(target).toMatchObject({ keys: [], modelPrefix: '', money: false, child: { url: 'http://127.0.0.1:8080' } });
    expect(await target.child.used()).toEqual({ cpuUs: null });
  });

  test('key and prefix follow the address, and may hold = and /', () => {
    const { target } = readGiven('x=http://localhost:8080#key=sk-a%3D%3D&prefix=openai/');
    expect(target.keys).toEqual(['sk-a==']);
    expect(target.modelPrefix).toBe('openai/');
  });

  test.runIf(process.platform === 'linux')(
    'the CPU of a process that is named is told, and grows with its work',
    async () => {
      const { target } = readGiven(`x=http://127.0.0.1:8080#pid=${process.pid}`);
      const before = (await target.child.used()).cpuUs;
      const own = process.cpuUsage();
      while (process.cpuUsage(own).user < 50_000);
      const after = (await target.child.used()).cpuUs;
      expect(before).not.toBeNull();
      expect((after ?? 0) - (before ?? 0)).toBeGreaterThan(40_000);
    },
  );

  test('a process that does not exist has no CPU rather than none used', async () => {
    const { target } = readGiven(`x=http://127.0.0.1:8080#pid=${2 ** 30}`);
    expect(await target.child.used()).toEqual({ cpuUs: null });
  });

  test.each([
    'http://example.com:80',
    'http://10.0.0.1:8080',
    'https://127.0.0.1:8443',
    'http://127.0.0.1.example.com',
  ])('nothing but plain HTTP on loopback is loaded: not %s', (address) => {
    expect(() => readGiven(`x=${address}`)).toThrow('loopback');
  });

  test.each(['http://127.0.0.1:8080', 'x', 'x=', 'x=y', '=http://127.0.0.1:1'])('%s is refused', (text) => {
    expect(() => readGiven(text)).toThrow('name=URL');
  });

  test.each(['#pid=0', '#pid=1.5', '#pid=me', '#token=a'])('%s is refused', (more) => {
    expect(() => readGiven(`x=http://127.0.0.1:8080${more}`)).toThrow('--peer x');
  });
});
