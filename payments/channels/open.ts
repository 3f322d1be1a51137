/** Payment channels, as configured. */
import { privateKeyToAccount } from 'viem/accounts';
import type { Hex } from '../methods/authorization.ts';
import type { Sign } from '../methods/offer-receipt.ts';
import type { Scheme } from '../methods/x402.ts';
import type { Nanousd } from '../money.ts';
import { Channels, type ChannelsOptions } from './channels.ts';
import { Claims } from './claims.ts';
import { Refunds } from './refunds.ts';
import { channelScheme } from './scheme.ts';
import { ChannelDigests } from './typed-data.ts';

export interface ChannelsConfig {
  /** Of the host: it signs claims and refunds. */
  readonly authorizerKey: Hex;
  readonly payTo: Hex;
  readonly leastDepositNanousd: Nanousd;
  readonly claimMinimum: Nanousd;
  readonly timeoutSeconds: number;
  /** Null where the host has no name. */
  readonly sign: Sign | null;
}

export interface OpenChannels {
  readonly scheme: Scheme;
  readonly claims: Claims;
  close(): void;
}

export function openChannels(options: Omit<ChannelsOptions, 'digests'> & ChannelsConfig): OpenChannels {
  const { network } = options.evm;
  const authorizer = privateKeyToAccount(options.authorizerKey);
  const digests = new ChannelDigests(network.chain.id);
  const receiver = options.payTo.toLowerCase() as Hex;
  const channels = new Channels({ ...options, digests });
  const refunds = new Refunds({ ...options, digests, channels, authorizer });
  const token = network.usdc.address.toLowerCase() as Hex;
  const claims = new Claims({ ...options, digests, authorizer, receiver, token, minimum: options.claimMinimum });
  const { timeoutSeconds, leastDepositNanousd, sign } = options;
  const receiverAuthorizer = authorizer.address.toLowerCase() as Hex;
  const terms = { network, receiver, receiverAuthorizer, timeoutSeconds, leastDepositNanousd };
  const ends = [channels.stand(), claims.watch()];
  return {
    scheme: channelScheme({ terms, digests, channels, refunds, sign }),
    claims,
    close: () => {
      for (const end of ends) end();
    },
  };
}
