import { computeChannelId } from '@x402/evm/batch-settlement/client';
import fc from 'fast-check';
import { hashTypedData } from 'viem';
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts';
import { expect, test } from 'vitest';
import { BATCH_SETTLEMENT } from '../chain/networks.ts';
import type { Hex } from '../methods/authorization.ts';
import { signerOf as scriptSignerOf } from './signatures.ts';
import { signerOf } from './signatures-wasm.ts';
import { ChannelDigests } from './typed-data.ts';

const digests = new ChannelDigests(84532);
const domain = { name: 'x402 Batch Settlement', version: '1', chainId: 84532, verifyingContract: BATCH_SETTLEMENT };
const account = privateKeyToAccount(generatePrivateKey());
const hex = (bytes: number) =>
  fc.uint8Array({ minLength: bytes, maxLength: bytes }).map((array): Hex => `0x${Buffer.from(array).toString('hex')}`);
const units = fc.bigInt({ min: 0n, max: 2n ** 64n });

test('a channel has the id that the stock client gives it', () => {
  const config = fc.record({
    payer: hex(20),
    payerAuthorizer: hex(20),
    receiver: hex(20),
    receiverAuthorizer: hex(20),
    token: hex(20),
    withdrawDelay: fc.integer({ min: 900, max: 2_592_000 }),
    salt: hex(32),
  });
  fc.assert(
    fc.property(config, (members) => {
      expect(digests.channelId(members)).toBe(computeChannelId(members, 'eip155:84532'));
    }),
    { numRuns: 25 },
  );
});

test('digests of claims and refunds are those of EIP-712', () => {
  const entry = fc.record({ channelId: hex(32), ceiling: units, total: units });
  const entries = fc.array(entry, { maxLength: 4 });
  fc.assert(
    fc.property(entries, hex(32), units, units, (claims, channelId, nonce, amount) => {
      const types = {
        ClaimBatch: [{ name: 'claims', type: 'ClaimEntry[]' }],
        ClaimEntry: [
          { name: 'channelId', type: 'bytes32' },
          { name: 'maxClaimableAmount', type: 'uint128' },
          { name: 'totalClaimed', type: 'uint128' },
        ],
        Refund: [
          { name: 'channelId', type: 'bytes32' },
          { name: 'nonce', type: 'uint256' },
          { name: 'amount', type: 'uint128' },
        ],
      } as const;
      const message = {
        claims: claims.map((claim) => ({ ...claim, maxClaimableAmount: claim.ceiling, totalClaimed: claim.total })),
      };
      expect(digests.claims(claims)).toBe(hashTypedData({ domain, types, primaryType: 'ClaimBatch', message }));
      const refund = { channelId, nonce, amount };
      expect(digests.refund(channelId, nonce, amount)).toBe(
        hashTypedData({ domain, types, primaryType: 'Refund', message: refund }),
      );
    }),
    { numRuns: 25 },
  );
});

test('a voucher is its signer’s, and changed in one bit nobody’s or another’s', async () => {
  const types = {
    Voucher: [
      { name: 'channelId', type: 'bytes32' },
      { name: 'maxClaimableAmount', type: 'uint128' },
    ],
  } as const;
  await fc.assert(
    fc.asyncProperty(hex(32), units, fc.integer({ min: 0, max: 65 * 8 - 1 }), async (channelId, ceiling, bit) => {
      const message = { channelId, maxClaimableAmount: ceiling };
      const signature = await account.signTypedData({ domain, types, primaryType: 'Voucher', message });
      const digest = digests.voucher({ channelId, ceiling });
      const bytes = Buffer.from(signature.slice(2), 'hex');
      bytes.writeUInt8(bytes.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      const changed: Hex = `0x${bytes.toString('hex')}`;
      const other = digests.voucher({ channelId, ceiling: ceiling + 1n });
      expect(signerOf(digest, signature)).toBe(account.address.toLowerCase());
      expect(signerOf(digest, changed)).not.toBe(account.address.toLowerCase());
      expect(signerOf(other, signature)).not.toBe(account.address.toLowerCase());
      // The same by the curve in JavaScript, as at the edge.
      for (const [of, by] of [
        [digest, signature],
        [digest, changed],
        [other, signature],
      ] as const)
        expect(await scriptSignerOf(of, by)).toBe(signerOf(of, by));
    }),
    { numRuns: 25 },
  );
});
