/**
 * Keeps operators from pointing the gateway at things that are not theirs: the host's own network, its cloud's metadata
 * service, loopback. A URL is checked when it is registered, and every address again when it is connected to, because a
 * name may resolve to something else by then.
 */
import ipaddr from 'ipaddr.js';

export interface GuardOptions {
  /** Development: http, loopback and private addresses are allowed. */
  readonly allowPrivate: boolean;
}

/** The URL or address is refused; the message names the fix and no address. */
export class GuardError extends Error {
  override readonly name = 'GuardError';
}

/** Ranges that `allowPrivate` opens. Link-local stays shut: that is where cloud metadata lives. */
const PRIVATE_RANGES = new Set(['loopback', 'private', 'uniqueLocal', 'carrierGradeNat']);
/** The only block of IPv6 that is routed on the public internet. */
const GLOBAL_IPV6 = ipaddr.IPv6.parseCIDR('2000::/3');
const HTTPS_PORT = 443;
/** Below are mail, shells and other things that are no worker, except HTTPS itself. */
const FIRST_FREE_PORT = 1024;

/** Checks a worker's base URL as its operator wrote it. Returns it without a trailing slash or `/v1`. Throws GuardError. */
export function checkWorkerUrl(text: string, options: GuardOptions): string {
  const url = parseUrl(text);
  if (url.username !== '' || url.password !== '') refuse('must not contain a user name or password; use engine_key');
  if (url.search !== '' || url.hash !== '') refuse('must not have a query or a fragment');
  if (options.allowPrivate ? !/^https?:$/.test(url.protocol) : url.protocol !== 'https:')
    refuse('must begin with https://');
  const port = url.port === '' ? null : Number(url.port);
  if (!options.allowPrivate && port !== null && port !== HTTPS_PORT && port < FIRST_FREE_PORT) {
    refuse(`must use port ${HTTPS_PORT} or one from ${FIRST_FREE_PORT} on`);
  }
  const host = url.hostname.replace(/^\[|\]$/g, '');
  if (ipaddr.isValid(host)) checkAddress(host, options);
  return url.href.replace(/\/+$/, '').replace(/\/v1$/, '').replace(/\/+$/, '');
}

/** Checks an address that is about to be connected to. Throws GuardError. */
export function checkAddress(address: string, { allowPrivate }: GuardOptions): void {
  const parsed = ipaddr.process(address); // ::ffff:10.0.0.1 is judged as 10.0.0.1
  const range = parsed.range();
  if (allowPrivate && PRIVATE_RANGES.has(range)) return;
  const isGlobal = range === 'unicast' && (parsed instanceof ipaddr.IPv4 || parsed.match(GLOBAL_IPV6));
  if (!isGlobal) refuse('must lead to a public address of the internet');
}

function parseUrl(text: string): URL {
  if (!URL.canParse(text)) refuse('is not a URL');
  return new URL(text);
}

function refuse(problem: string): never {
  throw new GuardError(`The worker's url ${problem}.`);
}
