/** The part of the environment that lets wallets pay: what is needed or nothing of it. Read by config.ts. */
import { z } from 'zod';
import { NETWORKS } from '../payments/chain/networks.ts';
import type { Hex } from '../payments/methods/authorization.ts';
import type { PaymentsConfig } from '../payments/methods/open.ts';

/** A tenth of a cent: about what a transfer costs on Base. */
const LEAST_NANOUSD = 1_000_000n;

const HOLD_BACK_HOURS = 72;
/** Below a dollar the gas is a part of a payout that shows. */
const PAYOUT_MINIMUM_NANOUSD = 1_000_000_000n;
/** About ten times what its transfer costs: nobody can make us pay gas by moving the same crumbs to and fro. */
const WITHDRAWAL_MINIMUM_NANOUSD = 10_000_000n;
/** A deposit and its claim cost about three transfers. */
const CHANNEL_DEPOSIT_NANOUSD = 20_000_000n;
const CLAIM_MINIMUM_NANOUSD = 100_000_000n;
const CONFIRMATIONS = 3n;
const SECONDS_PER_HOUR = 3_600;

const asHex = (text: string) => text as Hex;

const list = <Item extends z.ZodType<string, string>>(item: Item) =>
  z
    .string()
    .transform((text) => text.split(',').map((part) => part.trim()))
    .pipe(z.array(item).min(1));

const privateKey = z
  .string()
  .regex(/^0x[0-9a-fA-F]{64}$/, 'expected a private key of 32 bytes in hex')
  .transform(asHex);

const address = z
  .string()
  .regex(/^0x[0-9a-fA-F]{40}$/, 'expected an address')
  .transform(asHex);

const webUrl = z.url({ protocol: /^https?$/ });

export const paymentsEnvironment = {
  FAREGATE_NETWORK: z.enum(['base', 'base-sepolia']).optional(),
  FAREGATE_RPC_URL: list(webUrl).optional(),
  FAREGATE_TREASURY_KEY: privateKey.optional(),
  FAREGATE_PAY_TO: address.optional(),
  FAREGATE_GAS_KEYS: list(privateKey).optional(),
  FAREGATE_FACILITATOR_URL: webUrl.optional(),
  FAREGATE_FACILITATOR_KEY: z.string().min(1).optional(),
  FAREGATE_LEAST_PAYMENT_NANOUSD: z.coerce.bigint().min(1n).optional(),
  FAREGATE_CHANNELS: z.enum(['0', '1']).optional(),
  FAREGATE_CHANNEL_DEPOSIT_NANOUSD: z.coerce.bigint().min(1n).optional(),
  FAREGATE_CLAIM_MINIMUM_NANOUSD: z.coerce.bigint().min(1n).optional(),
  FAREGATE_CHANNEL_AUTHORIZER: address.optional(),
  FAREGATE_UPTO_MOVER: address.optional(),
  FAREGATE_UPTO_CAP_NANOUSD: z.coerce.bigint().min(1n).optional(),
  FAREGATE_DEPOSIT_CONFIRMATIONS: z.coerce.bigint().min(1n).max(1_000n).optional(),
  FAREGATE_CONFIRMATIONS: z.coerce.bigint().min(0n).max(1_000n).optional(),
  FAREGATE_HOLD_BACK_HOURS: z.coerce.number().int().min(0).max(8_760).optional(),
  FAREGATE_PAYOUT_EVERY_HOURS: z.coerce.number().int().min(1).max(8_760).optional(),
  FAREGATE_PAYOUT_MINIMUM_NANOUSD: z.coerce.bigint().min(0n).optional(),
  FAREGATE_WITHDRAWAL_MINIMUM_NANOUSD: z.coerce.bigint().min(0n).optional(),
};

type Values = z.output<z.ZodObject<typeof paymentsEnvironment>>;

/** Reports what is missing where something is there. `keyless`: what is paid is entrusted to gateways that have keys. */
export function requireWhole(values: Values, keyless: boolean, context: z.RefinementCtx): void {
  const names = Object.keys(paymentsEnvironment) as (keyof Values)[];
  if (names.every((name) => values[name] === undefined)) return;
  const need = (...either: readonly [keyof Values, ...(keyof Values)[]]) => {
    if (either.some((name) => values[name] !== undefined)) return;
    context.addIssue({ code: 'custom', path: [either[0]], message: `wallets need ${either.join(' or ')} to pay` });
  };
  need('FAREGATE_NETWORK');
  need('FAREGATE_RPC_URL');
  if (keyless) {
    need('FAREGATE_PAY_TO');
    return;
  }
  need('FAREGATE_TREASURY_KEY', 'FAREGATE_PAY_TO');
  for (const name of ['FAREGATE_CHANNEL_AUTHORIZER', 'FAREGATE_UPTO_MOVER'] as const) {
    if (values[name] === undefined) continue;
    context.addIssue({
      code: 'custom',
      path: [name],
      message: 'is for the Workers entry: here the key itself says it',
    });
  }
  need('FAREGATE_GAS_KEYS', 'FAREGATE_TREASURY_KEY', 'FAREGATE_FACILITATOR_URL');
  requireOwnKeys(values, context);
}

/** A hosted facilitator settles transfers alone: whoever asks for more beside it would not get it, and hears so. */
function requireOwnKeys(values: Values, context: z.RefinementCtx): void {
  if (values.FAREGATE_FACILITATOR_URL === undefined) return;
  const asked = [
    ['FAREGATE_CHANNELS', values.FAREGATE_CHANNELS === '1'],
    ['FAREGATE_UPTO_CAP_NANOUSD', values.FAREGATE_UPTO_CAP_NANOUSD !== undefined],
  ] as const;
  for (const [name, isAsked] of asked) {
    if (!isAsked) continue;
    const message = 'is settled by keys of our own: leave it out, or FAREGATE_FACILITATOR_URL';
    context.addIssue({ code: 'custom', path: [name], message });
  }
}

/** How wallets pay; null where nothing of it is configured. */
export function paymentsConfig(values: Values): PaymentsConfig | null {
  const { FAREGATE_NETWORK: network, FAREGATE_RPC_URL: rpcUrls, FAREGATE_TREASURY_KEY: treasuryKey } = values;
  if (network === undefined || rpcUrls === undefined) return null;
  const url = values.FAREGATE_FACILITATOR_URL;
  const every = values.FAREGATE_PAYOUT_EVERY_HOURS;
  return {
    network: NETWORKS[network],
    rpcUrls,
    treasuryKey: treasuryKey ?? null,
    payTo: values.FAREGATE_PAY_TO ?? null,
    gasKeys: values.FAREGATE_GAS_KEYS ?? (treasuryKey === undefined ? [] : [treasuryKey]),
    facilitator: url === undefined ? null : { url, key: values.FAREGATE_FACILITATOR_KEY ?? null },
    leastNanousd: values.FAREGATE_LEAST_PAYMENT_NANOUSD ?? LEAST_NANOUSD,
    depositConfirmations: values.FAREGATE_DEPOSIT_CONFIRMATIONS ?? NETWORKS[network].depositConfirmations,
    confirmations: values.FAREGATE_CONFIRMATIONS ?? CONFIRMATIONS,
    channels:
      values.FAREGATE_CHANNELS === '0'
        ? null
        : {
            leastDeposit: values.FAREGATE_CHANNEL_DEPOSIT_NANOUSD ?? CHANNEL_DEPOSIT_NANOUSD,
            claimMinimum: values.FAREGATE_CLAIM_MINIMUM_NANOUSD ?? CLAIM_MINIMUM_NANOUSD,
          },
    upto: values.FAREGATE_UPTO_CAP_NANOUSD === undefined ? null : { cap: values.FAREGATE_UPTO_CAP_NANOUSD },
    elsewhere: {
      authorizer: values.FAREGATE_CHANNEL_AUTHORIZER ?? null,
      mover: values.FAREGATE_UPTO_MOVER ?? null,
    },
    payouts: {
      holdBackSeconds: (values.FAREGATE_HOLD_BACK_HOURS ?? HOLD_BACK_HOURS) * SECONDS_PER_HOUR,
      everySeconds: every === undefined ? null : every * SECONDS_PER_HOUR,
      minimum: values.FAREGATE_PAYOUT_MINIMUM_NANOUSD ?? PAYOUT_MINIMUM_NANOUSD,
      withdrawalMinimum: values.FAREGATE_WITHDRAWAL_MINIMUM_NANOUSD ?? WITHDRAWAL_MINIMUM_NANOUSD,
    },
  };
}
