import fc from 'fast-check';
import { bytesToHex } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { expect, test } from 'vitest';
import { signerOf } from './signer.ts';

const word = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => bytesToHex(bytes));
const privateKey = word.filter((key) => !/^0x(0{64}|f{30})/.test(key));
const amount = fc.bigInt({ min: 0n, max: 2n ** 64n });

test('a key signs transactions, typed data and messages as viem does with it, to the last byte', async () => {
  await fc.assert(
    fc.asyncProperty(privateKey, word, amount, fc.nat(1_000), async (key, nonce, value, count) => {
      const [ours, theirs] = [signerOf(key), privateKeyToAccount(key)];
      expect(ours.address).toBe(theirs.address);
      const [to, data] = [theirs.address, nonce];
      const fees = { maxFeePerGas: value, maxPriorityFeePerGas: 1n < value ? 1n : value };
      const transaction = { type: 'eip1559', chainId: 84_532, nonce: count, to, data, gas: 120_000n, ...fees } as const;
      expect(await ours.signTransaction(transaction)).toBe(await theirs.signTransaction(transaction));
      const typed = {
        domain: { name: 'USDC', version: '2', chainId: 84_532, verifyingContract: to },
        types: {
          Sum: [
            { name: 'value', type: 'uint256' },
            { name: 'nonce', type: 'bytes32' },
          ],
        },
        primaryType: 'Sum',
        message: { value, nonce },
      } as const;
      expect(await ours.signTypedData(typed)).toBe(await theirs.signTypedData(typed));
      expect(await ours.signMessage({ message: nonce })).toBe(await theirs.signMessage({ message: nonce }));
      expect(await ours.sign?.({ hash: nonce })).toBe(await theirs.sign({ hash: nonce }));
    }),
    { numRuns: 50 },
  );
});

test('what is no key is refused when it is read', () => {
  expect(() => signerOf(`0x${'0'.repeat(64)}`)).toThrow();
});
