/** Sign-In-With-X (CAIP-122): a wallet proves itself by a signed text, bound to our own name and to a nonce that works once. */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { createSiweMessage } from 'viem/siwe';
import { z } from 'zod';
import type { Sql } from '../../db/connect.ts';
import { type Hex, signatureField, walletId } from './authorization.ts';
import type { Evm } from './evm.ts';
import { BadSignIn } from './method.ts';
import { accountOfWallet } from './payment-rows.ts';

export interface SignInOptions {
  readonly sql: Sql;
  readonly evm: Evm;
  /** As configured, never as a caller says in `Host`. */
  readonly origin: string;
  /** Keys the HMAC by which a nonce is known as ours, without keeping any before it is used. */
  readonly secretKey: string;
}

/** What a wallet is to sign. */
export interface SignInChallenge {
  readonly domain: string;
  readonly uri: string;
  readonly version: '1';
  readonly statement: string;
  readonly nonce: string;
  readonly issuedAt: string;
  readonly expirationTime: string;
}

const LIFETIME_MS = 300_000;
const STATEMENT = 'Use the balance of this wallet.';
/** Twelve random bytes and the time they were made, and as much of their HMAC as nobody guesses; hex, as a nonce must be alphanumeric. */
const NONCE = /^([0-9a-f]{24})([0-9a-f]{12})([0-9a-f]{32})$/;
const HEADER_MAX = 8_192;

const payload = z.object({
  domain: z.string(),
  address: z.string().regex(/^0x[0-9a-fA-F]{40}$/),
  statement: z.string().optional(),
  uri: z.string(),
  version: z.literal('1'),
  chainId: z.string(),
  type: z.literal('eip191'),
  nonce: z.string(),
  issuedAt: z.iso.datetime(),
  expirationTime: z.iso.datetime(),
  signature: signatureField,
});

export class SignIn {
  readonly #options: SignInOptions;
  readonly #origin: URL;

  constructor(options: SignInOptions) {
    this.#options = options;
    this.#origin = new URL(options.origin);
  }

  challenge(): SignInChallenge {
    const nowMs = Date.now();
    const made = randomBytes(12).toString('hex') + nowMs.toString(16).padStart(12, '0');
    return {
      domain: this.#origin.host,
      uri: this.#origin.href,
      version: '1',
      statement: STATEMENT,
      nonce: made + this.#mark(made),
      issuedAt: new Date(nowMs).toISOString(),
      expirationTime: new Date(nowMs + LIFETIME_MS).toISOString(),
    };
  }

  /** The extension of x402 by which its stock clients sign in before they pay. */
  extension(): Readonly<Record<string, unknown>> {
    const supportedChains = [{ chainId: this.#options.evm.network.id, type: 'eip191' }];
    return { 'sign-in-with-x': { info: this.challenge(), supportedChains } };
  }

  /** The account of the wallet that signed a header; null when it never paid. Throws `BadSignIn`, and whatever a chain that is away throws. */
  async verify(header: string): Promise<string | null> {
    const { evm, sql } = this.#options;
    const signed = read(header);
    this.#requireOurs(signed);
    const address = signed.address as Hex;
    // In the chain, not in this thread: wallets that are contracts are heard as well, and no curve is computed here.
    const valid = await evm.client.verifyMessage({
      address,
      message: messageOf(signed, evm),
      signature: signed.signature,
    });
    if (!valid) throw new BadSignIn('The signature is not that of this wallet.');
    const fresh = await sql`
      insert into used_nonce (nonce, ends_at) values (${signed.nonce}, ${signed.expirationTime})
      on conflict (nonce) do nothing returning nonce`;
    if (fresh.length === 0) throw new BadSignIn('This sign-in was used: sign a new one.');
    await sql`delete from used_nonce where ends_at < now() - interval '1 hour'`;
    return accountOfWallet(sql, walletId(evm.network.id, address));
  }

  #requireOurs({ domain, uri, chainId, nonce, expirationTime }: z.output<typeof payload>): void {
    if (domain !== this.#origin.host) throw new BadSignIn(`Sign in to ${this.#origin.host}, not to ${domain}.`);
    if (!URL.canParse(uri) || new URL(uri).origin !== this.#origin.origin)
      throw new BadSignIn(`Sign in to ${this.#origin.origin}, not to ${uri}.`);
    if (chainId !== this.#options.evm.network.id) throw new BadSignIn(`Sign in for ${this.#options.evm.network.id}.`);
    const [, random = '', time = '', mark = ''] = NONCE.exec(nonce) ?? [];
    const expected = Buffer.from(this.#mark(random + time));
    if (mark.length !== expected.length || !timingSafeEqual(Buffer.from(mark), expected))
      throw new BadSignIn('This nonce is not one of ours: ask for a new one.');
    const ageMs = BigInt(Date.now()) - BigInt(`0x${time}`);
    if (ageMs > LIFETIME_MS || Date.parse(expirationTime) <= Date.now())
      throw new BadSignIn('This sign-in has ended: sign a new one.');
  }

  #mark(made: string): string {
    return createHmac('sha256', this.#options.secretKey).update(`sign-in ${made}`).digest('hex').slice(0, 32);
  }
}

function messageOf(signed: z.output<typeof payload>, evm: Evm): string {
  const { domain, address, statement, uri, version, nonce, issuedAt, expirationTime } = signed;
  return createSiweMessage({
    domain,
    address: address as Hex,
    uri,
    version,
    nonce,
    chainId: evm.network.chain.id,
    issuedAt: new Date(issuedAt),
    expirationTime: new Date(expirationTime),
    ...(statement === undefined ? {} : { statement }),
  });
}

function read(header: string): z.output<typeof payload> {
  try {
    if (header.length > HEADER_MAX) throw new RangeError('too long');
    return payload.parse(JSON.parse(Buffer.from(header, 'base64').toString()));
  } catch {
    throw new BadSignIn('The header SIGN-IN-WITH-X is not base64 of JSON as CAIP-122 has it.');
  }
}
