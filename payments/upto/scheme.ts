/** x402's scheme `upto`: a wallet signs a maximum for one call, and what the call cost is moved when it is over. */
import { hash } from 'node:crypto';
import type { PaymentRequirements } from '@x402/core/types';
import { z } from 'zod';
import type { Network } from '../chain/networks.ts';
import { PERMIT2, UPTO_PROXY } from '../chain/networks.ts';
import { addressField, type Hex, numberField, signatureField, walletId } from '../methods/authorization.ts';
import { BadPayment, type Charge, type PaymentRefusal } from '../methods/method.ts';
import { receiptOfTab, type Sign } from '../methods/offer-receipt.ts';
import { type Accepted, requireAccepted, requirementsOf, type Scheme } from '../methods/x402.ts';
import type { Nanousd } from '../money.ts';
import { nanousdOf, unitsFor } from '../units.ts';
import type { Credit } from './credit.ts';
import type { Approval, Permit } from './permit.ts';

interface UptoTerms {
  readonly network: Network;
  /** Addresses in lower case: who is paid, and which of our keys moves the money. */
  readonly payTo: Hex;
  readonly facilitator: Hex;
  /** What costs more is not offered on credit, nor what costs less than moving it. */
  readonly cap: Nanousd;
  readonly leastNanousd: Nanousd;
  /** The longest call, in seconds: what was signed must outlast it. */
  readonly callSeconds: bigint;
}

const NAME = 'upto';
/** The extension by which a wallet without ether lets Permit2 move its tokens. */
const APPROVAL = 'eip2612GasSponsoring';
/** Seconds beyond the call that moving its charge may take. */
const TO_SETTLE = 60n;
/** Seconds that a client may take to sign. */
const TO_SIGN = 120n;

const wide = z.string().regex(/^(0|[1-9]\d{0,77})$/);
const payload = z.object({
  signature: signatureField,
  permit2Authorization: z.object({
    from: addressField,
    permitted: z.object({ token: addressField, amount: numberField }),
    spender: addressField,
    nonce: wide,
    deadline: numberField,
    witness: z.object({ to: addressField, facilitator: addressField, validAfter: numberField }),
  }),
});
const approval = z.object({
  info: z.object({
    from: addressField,
    asset: addressField,
    spender: addressField,
    amount: numberField,
    deadline: numberField,
    signature: signatureField,
  }),
});

export function uptoScheme(terms: UptoTerms, credit: Pick<Credit, 'use'>, sign: Sign | null): Scheme {
  const isOffered = ({ cost }: Charge) => cost !== null && cost <= terms.cap;
  return {
    name: NAME,
    requirements: (charge) => (isOffered(charge) ? requirements(terms, unitsFor(largest(charge, terms))) : null),
    extensions: (charge) => (isOffered(charge) ? { [APPROVAL]: { info: { version: '1' } } } : {}),
    read({ accepted, payload: sent, extensions }) {
      const permit = permitOf(accepted, payload.parse(sent), extensions?.[APPROVAL]);
      requireAccepted(accepted, requirements(terms, BigInt(permit.amount)));
      requireOurs(terms, permit);
      return {
        id: hash(
          'sha256',
          [terms.network.id, NAME, permit.owner, permit.nonce, permit.amount, permit.signature].join(' '),
        ),
        payer: walletId(terms.network.id, permit.owner),
        amount: nanousdOf(BigInt(permit.amount)),
        digest: null,
        fund: async (accountId, cost) => (accountId !== null || cost === null ? forCalls : credit.use(permit, cost)),
        receipt: (funded, url) => receiptOfTab(sign, funded, url),
        refund: null,
      };
    },
  };
}

const forCalls: PaymentRefusal = {
  code: 'invalid',
  reason:
    'a signed maximum pays calls, from an account of its own: send no key beside it, and pay ahead by another way',
};

/** To move less than the least is not worth its gas, though it is done. */
function largest({ cost }: Charge, { leastNanousd }: UptoTerms): Nanousd {
  return cost !== null && cost > leastNanousd ? cost : leastNanousd;
}

function requirements({ network, payTo, facilitator, callSeconds }: UptoTerms, units: bigint): PaymentRequirements {
  const timeoutSeconds = parseInt(String(callSeconds + TO_SETTLE + TO_SIGN), 10);
  const extra = { assetTransferMethod: 'permit2', facilitatorAddress: facilitator };
  return requirementsOf(network, { scheme: NAME, units, payTo, timeoutSeconds, extra });
}

function permitOf(
  accepted: Accepted,
  { signature, permit2Authorization }: z.output<typeof payload>,
  extension: unknown,
): Permit {
  const { from: owner, permitted, spender, nonce, deadline, witness } = permit2Authorization;
  if (spender !== UPTO_PROXY.toLowerCase()) throw new BadPayment(`The spender is ${spender}: expected ${UPTO_PROXY}.`);
  if (accepted.asset.toLowerCase() !== permitted.token) throw new BadPayment('Another token was signed for.');
  return {
    owner,
    token: permitted.token,
    amount: String(permitted.amount),
    nonce,
    deadline: String(deadline),
    to: witness.to,
    facilitator: witness.facilitator,
    validAfter: String(witness.validAfter),
    signature,
    approval: approvalOf(owner, permitted, extension),
  };
}

/** What a client merely echoes of the offer is no approval. */
function approvalOf(owner: Hex, permitted: { token: Hex; amount: bigint }, extension: unknown): Approval | null {
  const read = approval.safeParse(extension);
  if (!read.success) return null;
  const { from, asset, spender, amount, deadline, signature } = read.data.info;
  const isOurs = from === owner && asset === permitted.token && spender === PERMIT2.toLowerCase();
  if (!isOurs || amount !== permitted.amount)
    throw new BadPayment(
      'The approval is not for what the payment moves: sign it for the same wallet, token and amount.',
    );
  return { deadline: String(deadline), signature };
}

function requireOurs({ payTo, facilitator, cap, callSeconds }: UptoTerms, permit: Permit): void {
  if (permit.to !== payTo) throw new BadPayment(`Pay to ${payTo}, not to ${permit.to}.`);
  if (permit.facilitator !== facilitator)
    throw new BadPayment(`The facilitator is ${permit.facilitator}: expected ${facilitator}.`);
  if (permit.amount === '0') throw new BadPayment('A maximum is more than nothing.');
  if (nanousdOf(BigInt(permit.amount)) > cap)
    throw new BadPayment(`So much is not served on credit: at most ${cap} nano-USD.`);
  const now = BigInt(Date.now()) / 1_000n;
  if (BigInt(permit.validAfter) > now) throw new BadPayment('This maximum is not valid yet.');
  if (BigInt(permit.deadline) < now + callSeconds + TO_SETTLE)
    throw new BadPayment(
      `This maximum ends before a call surely does: sign for ${callSeconds + TO_SETTLE} seconds at least.`,
    );
}
