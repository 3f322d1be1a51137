/** The other gateways that the bench knows how to set up. */
import { busbar } from './busbar.ts';
import { gomodel } from './gomodel.ts';
import { litellm } from './litellm.ts';
import type { Peer } from './peer.ts';
import { portkey } from './portkey.ts';

export const peers: readonly Peer[] = [portkey, litellm, gomodel, busbar];
