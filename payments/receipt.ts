/** Receipts: a settled call as a signed statement that anybody can verify, for ever, with the keys that we publish. */
import { CompactSign, calculateJwkThumbprint, exportJWK, generateKeyPair, importJWK, type JWK, SignJWT } from 'jose';
import type { Sql } from '../db/connect.ts';
import { type CallRow, callJson } from './calls.ts';
import { inTransaction } from './retry.ts';

const ALGORITHM = 'EdDSA';
/** Far less than an old key stays published. */
const SIGNER_FOR_MS = 10_000;
/** Lets one gateway at a time make the first key. */
const FIRST_KEY_LOCK = 7_310_003;

interface SigningKey {
  readonly kid: string;
  readonly privateJwk: JWK;
}

/** A compact JWS (RFC 7515, RFC 8037) of the call: `iss`, `iat`, `sub` the account, `jti` the call, and the call's own members. */
export async function signReceipt(sql: Sql, call: CallRow, issuer: string): Promise<string> {
  const { kid, privateJwk } = (await signer(sql)) ?? (await firstKey(sql));
  return new SignJWT(callJson(call))
    .setProtectedHeader({ alg: ALGORITHM, kid, typ: 'JWT' })
    .setIssuer(issuer)
    .setIssuedAt()
    .setSubject(call.accountId)
    .setJti(call.id)
    .sign(await importJWK(privateJwk, ALGORITHM));
}

/**
 * Signs other statements of ours, as x402 has its receipts: compact JWS whose key is named by a host's DID, which publishes it. Payers wait
 * for it: the key is kept for a moment, so that most statements cost no question.
 */
export function statementSigner(sql: Sql, did: string): (statement: object) => Promise<string> {
  let known: {
    readonly untilMs: number;
    readonly signer: Promise<{ kid: string; key: Awaited<ReturnType<typeof importJWK>> }>;
  } | null = null;
  const load = async () => {
    const { kid, privateJwk } = (await signer(sql)) ?? (await firstKey(sql));
    return { kid, key: await importJWK(privateJwk, ALGORITHM) };
  };
  return async (statement) => {
    if (known === null || performance.now() > known.untilMs) {
      known = { untilMs: performance.now() + SIGNER_FOR_MS, signer: load() };
      known.signer.catch(() => {
        known = null;
      });
    }
    const { kid, key } = await known.signer;
    return new CompactSign(new TextEncoder().encode(JSON.stringify(statement)))
      .setProtectedHeader({ alg: ALGORITHM, kid: `${did}#${kid}` })
      .sign(key);
  };
}

/** A host's name as a DID (did:web): its keys are in the document that `didDocument` makes. */
export function didOf(origin: string): string {
  return `did:web:${encodeURIComponent(new URL(origin).host)}`;
}

/** What is published under /.well-known/did.json: all keys that ever signed, under the host's DID. */
export function didDocument(did: string, keys: readonly JWK[]): object {
  const method = (key: JWK) => ({
    id: `${did}#${key.kid}`,
    type: 'JsonWebKey2020',
    controller: did,
    publicKeyJwk: key,
  });
  const verificationMethod = keys.map(method);
  return { id: did, verificationMethod, assertionMethod: verificationMethod.map(({ id }) => id) };
}

/** The public halves of all keys that ever signed or soon will (RFC 7517): the newest first. */
export async function jwks(sql: Sql): Promise<{ keys: JWK[] }> {
  if ((await signer(sql)) === undefined) await firstKey(sql);
  const rows = await sql<SigningKey[]>`
    select kid, private_jwk as "privateJwk" from signing_key order by created_at desc, kid`;
  return { keys: rows.map(publicKey) };
}

/** Makes a new key, which signs once it was published for a minute; what older keys signed stays verifiable. Answers its id. */
export async function rotate(sql: Sql): Promise<string> {
  const { kid } = await makeKey(sql);
  return kid;
}

/** The newest key that verifiers can know: whoever keeps a copy of the published set has it for less than a minute. */
async function signer(sql: Sql): Promise<SigningKey | undefined> {
  const [row] = await sql<SigningKey[]>`
    select kid, private_jwk as "privateJwk"
    from signing_key, lateral (select created_at <= clock_timestamp() - interval '1 minute' as known) published
    order by known desc, case when known then created_at end desc, created_at, kid limit 1`;
  return row;
}

function firstKey(sql: Sql): Promise<SigningKey> {
  return inTransaction(sql, async (tx) => {
    await tx`select pg_advisory_xact_lock(${FIRST_KEY_LOCK})`;
    return (await signer(tx)) ?? (await makeKey(tx));
  });
}

async function makeKey(sql: Sql): Promise<SigningKey> {
  const { privateKey } = await generateKeyPair(ALGORITHM, { extractable: true });
  const privateJwk = await exportJWK(privateKey);
  const kid = await calculateJwkThumbprint(privateJwk);
  // clock_timestamp: two rotations in one transaction would otherwise be of the same age.
  await sql`
    insert into signing_key (kid, private_jwk, created_at)
    values (${kid}, ${JSON.stringify(privateJwk)}::text::jsonb, clock_timestamp())`;
  return { kid, privateJwk };
}

function publicKey({ kid, privateJwk: { x = '' } }: SigningKey): JWK {
  return { kty: 'OKP', crv: 'Ed25519', x, kid, alg: ALGORITHM, use: 'sig' };
}
