/** The bodies of ordinary routes, under the same limits as those of calls. */
import type { Limits } from './config.ts';
import { apiError } from './errors.ts';
import { scanJson } from './json-limits.ts';

type BodyLimits = Pick<Limits, 'bodyBytes' | 'bodyMs' | 'jsonDepth' | 'jsonNodes'>;

/** The whole body, within its limits of JSON too. Throws `unsupported_media_type`, `body_too_large`, `request_timeout` or `invalid_request`. */
export async function readBody(request: Request, limits: BodyLimits): Promise<Buffer> {
  if (!/^application\/json\b/i.test(request.headers.get('content-type') ?? '')) {
    throw apiError('unsupported_media_type', 'Send the body as JSON with `content-type: application/json`.');
  }
  const bytes = await collectBody(request, limits);
  scanJson(bytes, limits.jsonDepth, limits.jsonNodes);
  return bytes;
}

/** The parsed body. Throws `invalid_json`. */
export function readJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw apiError('invalid_json', 'The body is not JSON in UTF-8. Send one JSON object.');
  }
}

/** The whole body of a web Request. Throws `body_too_large` or `request_timeout`. */
export async function collectBody(request: Request, limits: Pick<Limits, 'bodyBytes' | 'bodyMs'>): Promise<Buffer> {
  const late = Promise.withResolvers<never>();
  const error = apiError('request_timeout', `The body did not arrive within ${limits.bodyMs} ms.`);
  const timer = setTimeout(() => late.reject(error), limits.bodyMs);
  try {
    return await Promise.race([collect(request, limits.bodyBytes), late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

async function collect(request: Request, bytesMax: number): Promise<Buffer> {
  const tooLarge = () => apiError('body_too_large', `The body is larger than ${bytesMax} bytes.`);
  if (Number(request.headers.get('content-length') ?? 0) > bytesMax) throw tooLarge();
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of request.body ?? []) {
    size += chunk.length;
    if (size > bytesMax) throw tooLarge();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
