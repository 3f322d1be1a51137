/** What tests ask of channels beside their clients. */

import { decodePaymentRequiredHeader, encodePaymentSignatureHeader } from '@x402/core/http';
import type { PaymentRequired } from '@x402/core/types';
import { computeChannelId } from '@x402/evm/batch-settlement/client';
import type { PrivateKeyAccount } from 'viem/accounts';
import { BATCH_SETTLEMENT } from '../payments/chain/networks.ts';
import type { Hex } from '../payments/methods/authorization.ts';
import type { WalletGateway } from './testing-wallets.ts';

interface ChannelView {
  readonly id: Hex;
  readonly accountId: string;
  readonly announced: bigint;
  readonly claimed: bigint;
  /** What its calls were charged, in nano-USD, and how many there were. */
  readonly charged: bigint;
  readonly calls: bigint;
}

/** Every channel, the oldest first. */
export async function channelsOf({ gateway }: WalletGateway): Promise<readonly ChannelView[]> {
  await gateway.running.gateway.ledger.settler.drain();
  return gateway.database.sql<ChannelView[]>`
    select c.id, c.account_id as "accountId", c.announced_units as announced, c.claimed_units as claimed,
      coalesce(sum(l.charged_nanousd), 0)::bigint as charged, count(l.id)::bigint as calls
    from channel c left join call l on l.account_id = c.account_id group by c.id order by c.created_at`;
}

/** Claims what is due, as it is done by the clock, until the chain has it. */
export async function claimNow({ gateway }: WalletGateway): Promise<void> {
  const { payments, ledger } = gateway.running.gateway;
  await ledger.settler.drain();
  const claims = payments?.claims;
  // The clock may have begun a claim before the last charge: what it left, the next one claims.
  for (let claim = 0; claim < 2; claim++) {
    await claims?.round(0n);
    // Signs and sends; the chain mines at once; the next look sees its nonce used.
    await payments?.sender?.tendOnce();
    await payments?.sender?.tendOnce();
    await claims?.round(0n);
  }
}

/** In whole units, rounded up once. */
export function wholeUnits(nanousd: bigint): bigint {
  return (nanousd + 999n) / 1_000n;
}

/** What a 402 offers, and why it is one. */
export function offeredBy(answer: Response): PaymentRequired {
  return decodePaymentRequiredHeader(answer.headers.get('payment-required') ?? '');
}

/** The payment response that a stream's last comment has, as an answer whose head has it: so stock libraries read it. */
export function lateResponse(text: string): Response {
  const late = /^: payment-response (\S+)\n\n(?:data: \{"error".*\n\n)?data: \[DONE\]/m.exec(text)?.[1];
  return new Response('', { headers: late === undefined ? {} : { 'payment-response': late } });
}

/** What a paid answer says of its channel. */
export function chargedBy(answer: Response): { charged: bigint; cumulative: bigint } {
  const text = Buffer.from(answer.headers.get('payment-response') ?? '', 'base64').toString();
  const { extra } = JSON.parse(text) as {
    extra: { chargedAmount: string; channelState: { chargedCumulativeAmount: string } };
  };
  return { charged: BigInt(extra.chargedAmount), cumulative: BigInt(extra.channelState.chargedCumulativeAmount) };
}

const voucherTypes = {
  Voucher: [
    { name: 'channelId', type: 'bytes32' },
    { name: 'maxClaimableAmount', type: 'uint128' },
  ],
} as const;

/** The header of a voucher that no stock client would sign: where it begins, what it adds, and who signs it are the test's. */
export async function voucherHeader(
  site: WalletGateway,
  init: RequestInit,
  voucher: { payer: PrivateKeyAccount; base: bigint; amount?: bigint; signer?: PrivateKeyAccount; lane?: number },
): Promise<Record<string, string>> {
  const { accepts, resource } = offeredBy(await fetch(site.url(), init));
  const offered = accepts.find(({ scheme }) => scheme === 'batch-settlement');
  if (offered === undefined) throw new Error('no channels are offered');
  const { payer, base, amount = BigInt(offered.amount), signer = payer, lane = 0 } = voucher;
  const channelConfig = {
    payer: payer.address,
    payerAuthorizer: payer.address,
    receiver: offered.payTo as Hex,
    receiverAuthorizer: offered.extra.receiverAuthorizer as Hex,
    token: offered.asset as Hex,
    withdrawDelay: offered.extra.withdrawDelay as number,
    salt: `0x${lane.toString(16).padStart(64, '0')}` as Hex,
  };
  const channelId = computeChannelId(channelConfig, offered.network);
  const ceiling = base + amount;
  const signature = await signer.signTypedData({
    domain: { name: 'x402 Batch Settlement', version: '1', chainId: 84532, verifyingContract: BATCH_SETTLEMENT },
    types: voucherTypes,
    primaryType: 'Voucher',
    message: { channelId, maxClaimableAmount: ceiling },
  });
  const accepted = { ...offered, amount: String(amount) };
  const payload = {
    type: 'voucher',
    channelConfig,
    voucher: { channelId, maxClaimableAmount: String(ceiling), signature },
  };
  return { 'payment-signature': encodePaymentSignatureHeader({ x402Version: 2, resource, accepted, payload }) };
}
