/** Payment channels where no key of the host may be: vouchers are checked and spent here, what needs a key is an errand. */
import type { Sql } from '../../db/connect.ts';
import type { Hex } from '../methods/authorization.ts';
import { Crowd, type CrowdLimits } from '../methods/crowd.ts';
import type { Evm } from '../methods/evm.ts';
import type { Sign } from '../methods/offer-receipt.ts';
import type { Scheme } from '../methods/x402.ts';
import type { Nanousd } from '../money.ts';
import { Channels } from './channels.ts';
import { AskedErrands } from './errands.ts';
import { channelScheme } from './scheme.ts';
import { signerOf } from './signatures.ts';
import { ChannelDigests } from './typed-data.ts';
import { type ChannelsLog, ChannelView } from './view.ts';

interface EntrustedChannelsConfig extends CrowdLimits {
  readonly sql: Sql;
  readonly evm: Evm;
  readonly log: ChannelsLog;
  readonly waitMs: number;
  readonly sign: Sign | null;
  /** The address of the key that signs claims and refunds, wherever it is. */
  readonly authorizer: Hex;
  readonly payTo: Hex;
  readonly leastDepositNanousd: Nanousd;
  readonly timeoutSeconds: number;
}

export function openEntrustedChannels(options: EntrustedChannelsConfig): { readonly scheme: Scheme; close(): void } {
  const { evm, sign, timeoutSeconds, leastDepositNanousd } = options;
  const { network } = evm;
  const receiverAuthorizer = options.authorizer.toLowerCase() as Hex;
  const receiver = options.payTo.toLowerCase() as Hex;
  const digests = new ChannelDigests(network.chain.id);
  const view = new ChannelView({ ...options, crowd: new Crowd(options) });
  const asked = new AskedErrands({ ...options, authorizer: receiverAuthorizer });
  const channels = new Channels({ ...options, digests, view, deposits: asked, signerOf });
  const terms = { network, receiver, receiverAuthorizer, timeoutSeconds, leastDepositNanousd };
  return { scheme: channelScheme({ terms, digests, channels, refunds: asked, sign }), close: channels.stand() };
}
