import { expect, test } from 'vitest';
import { checkAddress, checkWorkerUrl, GuardError } from './guard.ts';

const strict = { allowPrivate: false };
const lax = { allowPrivate: true };

test.each([
  ['https://gpu.example.com', 'https://gpu.example.com'],
  ['https://gpu.example.com/', 'https://gpu.example.com'],
  ['https://gpu.example.com:8443/v1/', 'https://gpu.example.com:8443'],
  ['https://gpu.example.com/vllm/v1', 'https://gpu.example.com/vllm'],
  ['https://[2a00:1450::1]:8443', 'https://[2a00:1450::1]:8443'],
])('%s is taken as %s', (text, base) => {
  expect(checkWorkerUrl(text, strict)).toBe(base);
});

test.each([
  'http://gpu.example.com',
  'ftp://gpu.example.com',
  'file:///etc/passwd',
  'https://user:secret@gpu.example.com',
  'https://gpu.example.com/?x=1',
  'https://gpu.example.com/#x',
  'https://gpu.example.com:22',
  'https://127.0.0.1',
  'https://2130706433',
  'https://0x7f.1',
  'https://[::ffff:169.254.169.254]',
  'gpu.example.com',
  '',
])('%s is refused', (text) => {
  expect(() => checkWorkerUrl(text, strict)).toThrow(GuardError);
});

test.each([
  ['loopback', '127.0.0.1'],
  ['loopback', '::1'],
  ['this host', '0.0.0.0'],
  ['this host', '::'],
  ['private', '10.0.0.1'],
  ['private', '172.16.0.1'],
  ['private', '192.168.1.1'],
  ['unique local', 'fd00::1'],
  ['link-local', 'fe80::1'],
  ['cloud metadata', '169.254.169.254'],
  ['carrier NAT', '100.64.0.1'],
  ['multicast', '224.0.0.1'],
  ['multicast', 'ff02::1'],
  ['broadcast', '255.255.255.255'],
  ['benchmarking', '198.18.0.1'],
  ['documentation', '192.0.2.1'],
  ['documentation', '2001:db8::1'],
  ['mapped loopback', '::ffff:127.0.0.1'],
  ['IPv4-compatible loopback', '::127.0.0.1'],
  ['6to4 of a private address', '2002:0a00:0001::1'],
  ['Teredo', '2001::1'],
  ['NAT64', '64:ff9b::7f00:1'],
  ['local NAT64', '64:ff9b:1::7f00:1'],
  ['site-local', 'fec0::1'],
])('%s %s is never connected to', (_, address) => {
  expect(() => checkAddress(address, strict)).toThrow(GuardError);
});

test.each(['1.1.1.1', '93.184.215.14', '2606:4700:4700::1111', '::ffff:1.1.1.1'])('%s is public', (address) => {
  expect(() => checkAddress(address, strict)).not.toThrow();
});

test('the development switch opens loopback and private networks over http, but not cloud metadata', () => {
  expect(checkWorkerUrl('http://127.0.0.1:8000/v1', lax)).toBe('http://127.0.0.1:8000');
  for (const address of ['127.0.0.1', '::1', '10.0.0.1', 'fd00::1']) {
    expect(() => checkAddress(address, lax)).not.toThrow();
  }
  for (const address of ['169.254.169.254', '::ffff:169.254.169.254', '0.0.0.0', '224.0.0.1', 'fe80::1']) {
    expect(() => checkAddress(address, lax)).toThrow(GuardError);
  }
});

test('a refusal names no address', () => {
  expect(() => checkAddress('10.1.2.3', strict)).toThrow(/^[^0-9]*$/);
});
