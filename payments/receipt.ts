/** Receipts: a settled call as a signed statement that anybody can verify, for ever, with the keys that we publish. */
import { calculateJwkThumbprint, exportJWK, generateKeyPair, importJWK, type JWK, SignJWT } from 'jose';
import type { Sql } from '../db/connect.ts';
import { type CallRow, callJson } from './calls.ts';
import { inTransaction } from './retry.ts';

const ALGORITHM = 'EdDSA';
/** Lets one gateway at a time make the first key. */
const FIRST_KEY_LOCK = 7_310_003;

interface SigningKey {
  readonly kid: string;
  readonly privateJwk: JWK;
}

/** A compact JWS (RFC 7515, RFC 8037) of the call: `iss`, `iat`, `sub` the account, `jti` the call, and the call's own members. */
export async function signReceipt(sql: Sql, call: CallRow, issuer: string): Promise<string> {
  const { kid, privateJwk } = (await newestKey(sql)) ?? (await firstKey(sql));
  return new SignJWT(callJson(call))
    .setProtectedHeader({ alg: ALGORITHM, kid, typ: 'JWT' })
    .setIssuer(issuer)
    .setIssuedAt()
    .setSubject(call.accountId)
    .setJti(call.id)
    .sign(await importJWK(privateJwk, ALGORITHM));
}

/** The public halves of all keys that ever signed (RFC 7517): the newest first. */
export async function jwks(sql: Sql): Promise<{ keys: JWK[] }> {
  const rows = await sql<SigningKey[]>`
    select kid, private_jwk as "privateJwk" from signing_key order by created_at desc, kid`;
  return { keys: rows.map(publicKey) };
}

/** Makes a new key that signs from now on; what older keys signed stays verifiable. Answers the new key's id. */
export async function rotate(sql: Sql): Promise<string> {
  const { kid } = await makeKey(sql);
  return kid;
}

async function newestKey(sql: Sql): Promise<SigningKey | undefined> {
  const [row] = await sql<SigningKey[]>`
    select kid, private_jwk as "privateJwk" from signing_key order by created_at desc, kid limit 1`;
  return row;
}

function firstKey(sql: Sql): Promise<SigningKey> {
  return inTransaction(sql, async (tx) => {
    await tx`select pg_advisory_xact_lock(${FIRST_KEY_LOCK})`;
    return (await newestKey(tx)) ?? (await makeKey(tx));
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
