import { readBytes, readObject } from './body.ts';
import { chat } from './chat.ts';
import { completions } from './completions.ts';
import { embeddings } from './embeddings.ts';
import type { Exchange } from './exchange.ts';
import { invalidBody, scaleOutDisabled, unauthorized, unknownPath, wrongMethod } from './failure.ts';
import { describe, Fields, type JsonObject } from './fields.ts';
import { checkModel } from './generation.ts';
import type { Machine } from './machine.ts';
import { metricsPage } from './metrics.ts';
import { VLLM_VERSION } from './options.ts';
import { chatPromptIds } from './prompt.ts';

type Handler = (machine: Machine, exchange: Exchange, body: JsonObject) => void;
type Route = { readonly GET?: Handler; readonly POST?: Handler };

/** Every path of the simulated server. Paths without a handler for a method answer 405, others 404. */
const COMMON: Readonly<Record<string, Route>> = {
  '/health': { GET: health },
  '/ping': { GET: health, POST: health },
  '/version': { GET: (_machine, exchange) => exchange.json(200, { version: `${VLLM_VERSION}+faregate.simulator` }) },
  '/load': { GET: load },
  '/metrics': {
    GET: (machine, exchange) =>
      exchange.text(200, metricsPage(machine), { 'content-type': 'text/plain; version=1.0.0; charset=utf-8' }),
  },
  '/v1/models': { GET: models },
  '/tokenize': { POST: tokenize },
  '/detokenize': { POST: detokenize },
  '/kv_event_sources': { GET: (_machine, exchange) => exchange.json(200, {}) },
};

const GENERATION: Readonly<Record<string, Route>> = {
  ...COMMON,
  '/v1/chat/completions': { POST: chat },
  '/v1/completions': { POST: completions },
  '/v1/chat/completions/render': { POST: refuseScaleOut },
  '/v1/completions/render': { POST: refuseScaleOut },
  '/inference/v1/generate': { POST: refuseScaleOut },
  '/invocations': {
    POST: (machine, exchange, body) => ('messages' in body ? chat : completions)(machine, exchange, body),
  },
};

const POOLING: Readonly<Record<string, Route>> = { ...COMMON, '/v1/embeddings': { POST: embeddings } };

const GUARDED = /^\/(v1|v2|inference|cohere)(\/|$)/;

/** Answers one request, or throws the failure to answer with. */
export async function route(machine: Machine, exchange: Exchange): Promise<void> {
  const { request, path } = exchange;
  const method = request.method ?? 'GET';
  if (method === 'OPTIONS' && exchange.header('origin') !== undefined) {
    await readBytes(request);
    refusePreflight(exchange);
    return;
  }
  const bytes = await readBytes(request);
  checkKey(machine, exchange);
  const routes = machine.settings.embeddings ? POOLING : GENERATION;
  const found = routes[path];
  if (found === undefined) {
    redirectSlash(exchange, routes);
    return;
  }
  const handler = method === 'GET' ? found.GET : method === 'POST' ? found.POST : undefined;
  if (handler === undefined) {
    throw wrongMethod(Object.keys(found).join(', '));
  }
  const needsBody = method === 'POST' && path !== '/ping';
  handler(machine, exchange, needsBody ? readObject(bytes, exchange.header('content-type')) : {});
}

function checkKey({ settings: { apiKey } }: Machine, exchange: Exchange): void {
  if (apiKey === undefined || !GUARDED.test(exchange.path)) {
    return;
  }
  const [scheme, key] = (exchange.header('authorization') ?? '').split(' ', 2);
  if (scheme?.toLowerCase() !== 'bearer' || key !== apiKey) {
    throw unauthorized();
  }
}

/** A path that exists but for its last slash is sent there. */
function redirectSlash(exchange: Exchange, routes: Readonly<Record<string, Route>>): void {
  const path = exchange.path.replace(/\/$/, '');
  if (routes[path] === undefined) {
    throw unknownPath();
  }
  exchange.text(307, '', { location: `http://${exchange.header('host') ?? 'localhost'}${path}` });
}

function refusePreflight(exchange: Exchange): void {
  exchange.text(400, 'Disallowed CORS origin', {
    'content-type': 'text/plain; charset=utf-8',
    'access-control-allow-methods': 'DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, QUERY',
    'access-control-max-age': '600',
    'access-control-allow-headers': exchange.header('access-control-request-headers') ?? '',
    vary: 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers, Access-Control-Request-Private-Network',
  });
}

function refuseScaleOut(): void {
  throw scaleOutDisabled();
}

function health(machine: Machine, exchange: Exchange): void {
  exchange.text(machine.state === 'dead' ? 503 : 200, '', {});
}

/** Sequences here, running and waiting. */
function load({ settings, engine }: Machine, exchange: Exchange): void {
  exchange.json(200, { server_load: settings.loadTracking ? engine.runningCount + engine.waitingCount : 0 });
}

function models(machine: Machine, exchange: Exchange): void {
  const { model, contextLength } = machine.settings;
  const created = Math.floor(Date.now() / 1000);
  const permission = {
    id: `modelperm-${machine.newId()}`,
    object: 'model_permission',
    created,
    allow_create_engine: false,
    allow_sampling: true,
    allow_logprobs: true,
    allow_search_indices: false,
    allow_view: true,
    allow_fine_tuning: false,
    organization: '*',
    group: null,
    is_blocking: false,
  };
  const item = {
    id: model,
    object: 'model',
    created,
    owned_by: 'faregate-simulator',
    root: `/models/${model}`,
    parent: null,
    max_model_len: contextLength,
    permission: [permission],
  };
  exchange.json(200, { object: 'list', data: [item] });
}

function tokenize(machine: Machine, exchange: Exchange, body: JsonObject): void {
  const { tokenizer, settings } = machine;
  const fields = new Fields(body);
  const prompt = fields.text('prompt');
  const messages = fields.list('messages');
  if (prompt === null && messages === null) {
    const issue = { type: 'missing', message: 'Field required', input: describe(body) };
    throw invalidBody(['prompt', 'messages'].map((name) => ({ ...issue, location: `body.${name}` })));
  }
  fields.check();
  checkModel(fields, settings);
  const chatMessages = (messages ?? []).filter((message): message is JsonObject => typeof message === 'object');
  const open = fields.boolean('add_generation_prompt') ?? true;
  const tokens =
    prompt === null
      ? chatPromptIds(tokenizer, settings.contextLength, chatMessages, fields.list('tools'), {
          open,
          unfinished: false,
        })
      : tokenizer.encode(prompt);
  const spelled = (fields.boolean('return_token_strs') ?? false) ? tokens.map((id) => tokenizer.spell(id)) : null;
  exchange.json(200, { count: tokens.length, max_model_len: settings.contextLength, tokens, token_strs: spelled });
}

function detokenize(machine: Machine, exchange: Exchange, body: JsonObject): void {
  const fields = new Fields(body);
  const tokens = fields.list('tokens');
  if (tokens === null) {
    fields.missing('tokens');
  }
  fields.check();
  checkModel(fields, machine.settings);
  exchange.json(200, { prompt: machine.tokenizer.decode((tokens ?? []).map(Number)) });
}
