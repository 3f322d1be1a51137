import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const recordings = join(import.meta.dirname, '../../workers/recordings');
const endpoints = /^\/v1\/(chat\/completions|completions|embeddings|models|models\/[^/]+)(\?.*)?$/;

/** A request that a real vLLM was once asked, to be asked again elsewhere. */
export interface RecordedCase {
  readonly name: string;
  readonly method: string;
  readonly path: string;
  readonly body: string | undefined;
  /** Beside the usual ones; null takes one of these away. */
  readonly headers: Readonly<Record<string, string | null>>;
  /** Recorded on a server of embeddings. */
  readonly embedding: boolean;
}

/** Where the cases are sent. */
export interface Server {
  readonly url: string;
  readonly apiKey: string;
  /** Name of the model there; the recordings say `tiny`. */
  readonly model: string;
}

export interface Answer {
  readonly status: number;
  readonly contentType: string;
  /** Parsed JSON, or of a stream the data of each event: parsed JSON or a text such as `[DONE]`. */
  readonly content: unknown;
}

interface Recording {
  readonly request?: {
    readonly method?: string;
    readonly path?: string;
    readonly body?: unknown;
    readonly raw?: string;
    readonly headers?: Readonly<Record<string, string | null>>;
  };
}

/** Every recorded single request to the endpoints that the gateway has. */
export function recordedCases(): RecordedCase[] {
  return readdirSync(recordings)
    .filter((file) => file.endsWith('.json'))
    .sort()
    .flatMap((file) => {
      const { request }: Recording = JSON.parse(readFileSync(join(recordings, file), 'utf8'));
      if (request?.method === undefined || !endpoints.test(request.path ?? '')) return [];
      const name = file.slice(0, -'.json'.length);
      return [{ ...toCase(request), name, embedding: name.startsWith('pooling-') }];
    });
}

function toCase({ method = '', path = '', body, raw, headers = {} }: NonNullable<Recording['request']>) {
  const text = raw ?? (body === undefined || body === null ? undefined : JSON.stringify(body));
  return { method, path, body: text, headers };
}

/** Asks a server; the key and the model of the recording become the server's own. */
export async function send({ method, path, body, headers }: RecordedCase, server: Server): Promise<Answer> {
  const merged: Record<string, string> = { authorization: `Bearer ${server.apiKey}` };
  if (body !== undefined) merged['content-type'] = 'application/json';
  for (const [name, value] of Object.entries(headers)) {
    if (value === null) delete merged[name.toLowerCase()];
    else merged[name.toLowerCase()] = Buffer.from(withKey(value, server.apiKey)).toString('latin1');
  }
  const answer = await fetch(server.url + path, { method, headers: merged, body: bytesOf(body, server.model) });
  const contentType = answer.headers.get('content-type') ?? '';
  const text = await answer.text();
  return {
    status: answer.status,
    contentType,
    content: contentType.startsWith('text/event-stream') ? eventsOf(text) : JSON.parse(text),
  };
}

/** The body as it was sent. The recordings are UTF-8, so a byte that is not stands in them as U+FFFD. */
function bytesOf(body: string | undefined, model: string): Buffer | null {
  if (body === undefined) return null;
  const text = body.replace(/"model": ?"tiny"/, `"model":"${model}"`);
  const pieces = text.split('\ufffd').flatMap((piece) => [Buffer.from([0xff]), Buffer.from(piece)]);
  return Buffer.concat(pieces.slice(1));
}

const withKey = (header: string, apiKey: string) => header.replace(/^(\w+ |)test$/, (_, scheme) => scheme + apiKey);

/** The data of each event; comments are no events. */
function eventsOf(text: string): unknown[] {
  return text
    .split('\n\n')
    .filter((frame) => frame.startsWith('data: '))
    .map((frame) => frame.slice('data: '.length))
    .map((data) => (data.startsWith('{') ? JSON.parse(data) : data));
}
