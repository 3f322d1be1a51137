/** What tests ask of channels beside their clients. */
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
  const claims = payments?.channels?.claims;
  await claims?.round(0n);
  // Signs and sends; the chain mines at once; the next look sees its nonce used.
  await payments?.sender.tendOnce();
  await payments?.sender.tendOnce();
  await claims?.round(0n);
}

/** In whole units, rounded up once. */
export function wholeUnits(nanousd: bigint): bigint {
  return (nanousd + 999n) / 1_000n;
}
