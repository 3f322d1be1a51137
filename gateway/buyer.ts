/** The paying side of our own: a fetch that answers a 402 within what the wallet's owner allows, whatever the 402 says. */
import type { PrivateKeyAccount } from 'viem/accounts';
import type { Network } from '../payments/chain/networks.ts';

/** Amounts are in the smallest unit of USDC. */
export interface BuyerLimits {
  readonly network: Network;
  /** The one address that is ever paid: learnt from the host itself, never from an answer. */
  readonly payTo: string;
  readonly unitsPerPayment: bigint;
  /** Of all payments of this fetch together, so that nobody is charged again and again for one thing. */
  readonly unitsInAll: bigint;
}

/** Answers a fetch that pays. It rejects where an answer asks for what the limits forbid: nothing is signed then. */
export async function buyerFetch(
  account: PrivateKeyAccount,
  limits: BuyerLimits,
  inner: typeof fetch = fetch,
): Promise<typeof fetch> {
  const [{ wrapFetchWithPayment, x402Client }, { ExactEvmScheme }] = await Promise.all([
    import('@x402/fetch'),
    import('@x402/evm/exact/client'),
  ]);
  let signedUnits = 0n;
  const payer = new x402Client().register(limits.network.id, new ExactEvmScheme(account));
  // The client's own limits stay in force beside ours: a dollar at once, in the networks' usual coins.
  payer.onBeforePaymentCreation(({ selectedRequirements: asked }) => {
    const reason = refusal(asked, limits, signedUnits);
    if (reason !== null) return Promise.resolve({ abort: true, reason });
    // Counted when it is signed: from then on it can be used, whatever becomes of the answer.
    signedUnits += BigInt(asked.amount);
    return Promise.resolve();
  });
  return wrapFetchWithPayment(inner, payer) as typeof fetch;
}

function refusal(
  { asset, payTo, amount }: { asset: string; payTo: string; amount: string },
  { network, unitsPerPayment, unitsInAll, ...limits }: BuyerLimits,
  signedUnits: bigint,
): string | null {
  if (payTo.toLowerCase() !== limits.payTo.toLowerCase()) return `pay ${limits.payTo}, not ${payTo}`;
  if (asset.toLowerCase() !== network.usdc.address.toLowerCase()) return `pay in USDC, not in ${asset}`;
  if (!/^[1-9]\d*$/.test(amount)) return `${amount} is no amount`;
  if (BigInt(amount) > unitsPerPayment)
    return `${amount} units are asked for: at most ${unitsPerPayment} are paid at once`;
  if (signedUnits + BigInt(amount) > unitsInAll)
    return `with ${amount} more, over ${unitsInAll} units would be paid in all`;
  return null;
}
