import { expect, test, vi } from 'vitest';
import { SignIn } from './sign-in.ts';
import { startPaymentSite } from './testing.ts';

const ORIGIN = 'https://gate.example.com';

test('T22: a sign-in that is older than five minutes is refused, whatever end its wallet wrote into it', async () => {
  await using site = await startPaymentSite();
  const { evm } = site.open();
  const signIn = new SignIn({ sql: site.database.sql, evm, origin: ORIGIN, secretKey: 'secret' });
  const payer = await site.chain.wallet();
  const sign = async (ageMs: number) => {
    vi.setSystemTime(Date.now() - ageMs);
    const { nonce, domain, uri, version } = signIn.challenge();
    vi.useRealTimers();
    const issuedAt = new Date();
    const expirationTime = new Date(issuedAt.getTime() + 3_600_000);
    const { createSiweMessage } = await import('viem/siwe');
    const { address } = payer;
    const chainId = site.chain.network.chain.id;
    const message = createSiweMessage({ domain, address, uri, version, nonce, chainId, issuedAt, expirationTime });
    const signature = await payer.account.signMessage({ message });
    const times = { issuedAt: issuedAt.toISOString(), expirationTime: expirationTime.toISOString() };
    const signed = {
      domain,
      address,
      uri,
      version,
      nonce,
      chainId: evm.network.id,
      type: 'eip191',
      ...times,
      signature,
    };
    return Buffer.from(JSON.stringify(signed)).toString('base64');
  };
  await expect(signIn.verify(await sign(301_000))).rejects.toThrow('ended');
  // The same in time is good; its wallet never paid and has no account.
  expect(await signIn.verify(await sign(200_000))).toBeNull();
});
