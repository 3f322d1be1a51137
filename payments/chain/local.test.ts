import { readFileSync } from 'node:fs';
import { encodeFunctionData, parseEther } from 'viem';
import { expect, test } from 'vitest';
import { multicall3Abi, usdcAbi } from './abi.ts';
import { compileContracts } from './compile.ts';
import { type LocalChain, type LocalWallet, startLocalChain } from './local.ts';
import { MULTICALL3 } from './networks.ts';

const NONCE = `0x${'07'.repeat(32)}` as const;

async function authorized(chain: LocalChain, from: LocalWallet, to: LocalWallet, value: bigint, name = 'USDC') {
  const terms = { from: from.address, to: to.address, value, validAfter: 0n, validBefore: 2n ** 48n, nonce: NONCE };
  const signature = await from.account.signTypedData({
    domain: { name, version: '2', chainId: 84532, verifyingContract: chain.network.usdc.address },
    types: {
      TransferWithAuthorization: [
        { name: 'from', type: 'address' },
        { name: 'to', type: 'address' },
        { name: 'value', type: 'uint256' },
        { name: 'validAfter', type: 'uint256' },
        { name: 'validBefore', type: 'uint256' },
        { name: 'nonce', type: 'bytes32' },
      ],
    },
    primaryType: 'TransferWithAuthorization',
    message: terms,
  });
  return encodeFunctionData({
    abi: usdcAbi,
    functionName: 'transferWithAuthorization',
    args: [terms.from, terms.to, value, terms.validAfter, terms.validBefore, NONCE, signature],
  });
}

async function send(chain: LocalChain, payer: LocalWallet, data: `0x${string}`): Promise<'success' | 'reverted'> {
  const to = chain.network.usdc.address;
  // With gas named, nothing is tried out before: what reverts does so on the chain.
  const hash = await chain.client.sendTransaction({ account: payer.account, to, data, gas: 200_000n });
  return (await chain.client.waitForTransactionReceipt({ hash })).status;
}

test('the committed code is what solc makes of our Solidity', () => {
  const committed = JSON.parse(readFileSync(new URL('./contracts.json', import.meta.url), 'utf8')) as object;
  expect(compileContracts()).toEqual(committed);
}, 60_000);

test('a transfer that a wallet signed moves its money once, whoever sends it, and only under the right name', async () => {
  await using chain = await startLocalChain();
  const payer = await chain.wallet({ usdc: 5_000_000n, wei: 0n });
  const [payee, relayer] = [await chain.wallet({ wei: 0n }), await chain.wallet()];
  expect(await send(chain, relayer, await authorized(chain, payer, payee, 10n, 'USD Coin'))).toBe('reverted');
  const transfer = await authorized(chain, payer, payee, 2_000_000n);
  expect(await send(chain, relayer, transfer)).toBe('success');
  expect(await send(chain, relayer, transfer)).toBe('reverted');
  expect(await chain.usdcOf(payer.address)).toBe(3_000_000n);
  expect(await chain.usdcOf(payee.address)).toBe(2_000_000n);
});

test('one transfer that is refused does not hold up the others of its batch', async () => {
  await using chain = await startLocalChain();
  const payer = await chain.wallet({ usdc: 50n });
  const [refused, payee] = [await chain.wallet(), await chain.wallet()];
  await chain.refuse(refused.address);
  const target = chain.network.usdc.address;
  const calls = [await authorized(chain, payer, refused, 20n), await authorized(chain, payer, payee, 30n)];
  const hash = await chain.client.writeContract({
    account: payer.account,
    address: MULTICALL3,
    abi: multicall3Abi,
    functionName: 'aggregate3',
    args: [calls.map((callData) => ({ target, allowFailure: true, callData }))],
  });
  expect((await chain.client.waitForTransactionReceipt({ hash })).status).toBe('success');
  expect(await Promise.all([payer, refused, payee].map(({ address }) => chain.usdcOf(address)))).toEqual([
    20n,
    0n,
    30n,
  ]);
});

test('a chain can hold its blocks back', async () => {
  await using chain = await startLocalChain();
  await chain.client.setAutomine(false);
  const [from, to] = [await chain.wallet(), await chain.wallet({ wei: 0n })];
  const hash = await chain.client.sendTransaction({ account: from.account, to: to.address, value: parseEther('0.5') });
  await expect(chain.client.getTransactionReceipt({ hash })).rejects.toThrow('could not be found');
  await chain.client.mine({ blocks: 1 });
  expect((await chain.client.waitForTransactionReceipt({ hash })).status).toBe('success');
});
