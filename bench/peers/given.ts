/** Gateways that are running already: `--peer 'name=http://127.0.0.1:8080#key=…&pid=…&prefix=…'`. */

import { treeCpuUs } from '../cpu.ts';
import type { Target } from '../measure.ts';
import type { PeerRow } from '../workloads.ts';

const LOOPBACK = /^(127(\.\d{1,3}){3}|localhost)$/;

export interface Given {
  readonly row: PeerRow;
  readonly target: Target;
}

/** Key, process and what stands before the model's name follow the address, all of them optional. Throws when it cannot be read. */
export function readGiven(text: string): Given {
  const [, name = '', address = ''] = /^([^=]+)=(.+)$/.exec(text) ?? [];
  if (!URL.canParse(address)) throw new Error(`--peer is to be name=URL, not ${text}`);
  const { protocol, hostname, origin, hash } = new URL(address);
  if (protocol !== 'http:' || !LOOPBACK.test(hostname)) {
    throw new Error(`--peer ${name}: only http on this machine's loopback is loaded, not ${address}`);
  }
  const more = new URLSearchParams(hash.slice(1));
  const unknown = [...more.keys()].find((word) => !['key', 'pid', 'prefix'].includes(word));
  if (unknown !== undefined) throw new Error(`--peer ${name}: there is no ${unknown}, but key, pid and prefix`);
  const pid = Number(more.get('pid') ?? Number.NaN);
  if (more.has('pid') && !(Number.isInteger(pid) && pid > 0))
    throw new Error(`--peer ${name}: no process ${more.get('pid')}`);
  const key = more.get('key');
  const used = async () => ({ cpuUs: more.has('pid') ? await treeCpuUs(pid) : null });
  return {
    row: `vs ${name.trim()}`,
    target: {
      child: { url: origin, used },
      keys: key === null ? [] : [key],
      modelPrefix: more.get('prefix') ?? '',
      money: false,
      receipts: false,
    },
  };
}
