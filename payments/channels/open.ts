/** Payment channels, as configured: with the host's keys, or without them. */
import { privateKeyToAccount } from 'viem/accounts';
import type { Sql } from '../../db/connect.ts';
import type { Hex } from '../methods/authorization.ts';
import type { Crowd } from '../methods/crowd.ts';
import type { Evm } from '../methods/evm.ts';
import type { Sign } from '../methods/offer-receipt.ts';
import type { Sender } from '../methods/sender.ts';
import type { Scheme } from '../methods/x402.ts';
import type { Nanousd } from '../money.ts';
import { Channels } from './channels.ts';
import { Claims } from './claims.ts';
import { ChannelDeposits } from './deposits.ts';
import { doErrands } from './errands.ts';
import { Refunds } from './refunds.ts';
import { channelScheme, readChannelPayment } from './scheme.ts';
import { signerOf } from './signatures-wasm.ts';
import { ChannelDigests } from './typed-data.ts';
import { type ChannelsLog, ChannelView } from './view.ts';

export interface ChannelsConfig {
  readonly sql: Sql;
  readonly evm: Evm;
  readonly sender: Sender;
  readonly log: ChannelsLog;
  readonly crowd: Crowd;
  /** How long a request waits for its deposit to arrive. */
  readonly waitMs: number;
  /** Null where the host has no name. */
  readonly sign: Sign | null;
  /** Of the host: it signs claims and refunds. */
  readonly authorizerKey: Hex;
  readonly payTo: Hex;
  readonly leastDepositNanousd: Nanousd;
  readonly timeoutSeconds: number;
}

/** Opens channels and lets calls be paid from them, those of gateways without keys too. */
export function openChannels(options: ChannelsConfig): { readonly scheme: Scheme; close(): Promise<void> } {
  const { evm, sign, timeoutSeconds, leastDepositNanousd } = options;
  const { network } = evm;
  const authorizer = privateKeyToAccount(options.authorizerKey);
  const digests = new ChannelDigests(network.chain.id);
  const receiver = options.payTo.toLowerCase() as Hex;
  const view = new ChannelView(options);
  const deposits = new ChannelDeposits({ ...options, view });
  const channels = new Channels({ ...options, digests, view, deposits, signerOf });
  const refunds = new Refunds({ ...options, digests, channels, authorizer });
  const receiverAuthorizer = authorizer.address.toLowerCase() as Hex;
  const terms = { network, receiver, receiverAuthorizer, timeoutSeconds, leastDepositNanousd };
  const read = readChannelPayment.bind(null, terms, digests);
  const errands = doErrands({ ...options, authorizer: receiverAuthorizer, deposits, refunds, read });
  const end = channels.stand();
  return {
    scheme: channelScheme({ terms, digests, channels, refunds, sign }),
    close: async () => {
      end();
      await errands();
    },
  };
}

/** Claims what calls were charged, as long as there are channels: whether or not more are offered. */
export function openClaims(
  options: Pick<ChannelsConfig, 'sql' | 'evm' | 'sender' | 'log' | 'authorizerKey' | 'payTo'> & {
    readonly minimum: Nanousd;
  },
): { readonly claims: Claims; close(): void } {
  const { network } = options.evm;
  const claims = new Claims({
    ...options,
    digests: new ChannelDigests(network.chain.id),
    authorizer: privateKeyToAccount(options.authorizerKey),
    receiver: options.payTo.toLowerCase() as Hex,
    token: network.usdc.address.toLowerCase() as Hex,
  });
  return { claims, close: claims.watch() };
}
