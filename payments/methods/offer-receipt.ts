/** x402's extension `offer-receipt`: that an answer was paid for, signed in the host's name, so that a payer can show it to others. */
import type { Funded, Headers } from './method.ts';

/** Signs a statement in the host's name. */
export type Sign = (statement: object) => Promise<string>;

/** The members that a payment response gains: none where the host has no name. */
export interface Signed {
  readonly extensions?: Readonly<Record<string, unknown>>;
}

/** Signs that `url` was paid for; the members in the order of their names, as the extension has them. Without a transaction there was none yet. */
export async function signedReceipt(
  sign: Sign | null,
  { network, reference, payer }: Pick<Funded, 'network' | 'reference' | 'payer'>,
  resourceUrl: string,
): Promise<Signed> {
  if (sign === null) return {};
  const issuedAt = Date.now() / 1_000;
  const statement = {
    issuedAt: issuedAt - (issuedAt % 1),
    network,
    payer: addressIn(payer),
    resourceUrl,
    transaction: reference,
    version: 1,
  };
  return {
    extensions: { 'offer-receipt': { info: { receipt: { format: 'jws', signature: await sign(statement) } } } },
  };
}

/** What who pays by the use is told: the tab knows what was charged, the host signs before the answer begins, so that nothing waits for it. */
export async function receiptOfTab(
  sign: Sign | null,
  funded: Funded,
  url: string,
): Promise<(charged: bigint | null) => Headers> {
  const signed = await signedReceipt(sign, funded, url);
  return (charged) => funded.tab?.receipt(charged, signed) ?? {};
}

/** The address of a wallet's CAIP-10 name. */
export function addressIn(walletId: string): string {
  return walletId.slice(walletId.lastIndexOf(':') + 1);
}
