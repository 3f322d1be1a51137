/**
 * An ordinary route is declared once: who may call it, what it takes and answers, with an example, and what it does. The
 * declaration checks the request, types the handler and becomes /openapi.json.
 */
import { type Context, Hono } from 'hono';
import { z } from 'zod';
import { isTransient, withDeadline } from '../payments/retry.ts';
import type { Principal, PrincipalKind } from './auth.ts';
import { apiError } from './errors.ts';
import type { Gateway } from './platform.ts';
import { readBody, readJson } from './route-body.ts';
import { respondOnce } from './route-once.ts';

export interface RouteDescription {
  readonly method: 'get' | 'post' | 'put' | 'patch' | 'delete';
  /** `{id}` is one segment of the path; `{+model}` may hold slashes. */
  readonly path: string;
  readonly summary: string;
  /** Whose key it needs; null: nobody's. */
  readonly security: PrincipalKind | null;
  readonly query?: z.ZodObject;
  readonly body?: z.ZodType;
  /** The answer with status 200. */
  readonly response: z.ZodType;
  /** Of the answer; JSON where it is absent. */
  readonly contentType?: string;
  /** The same answer can come as server-sent events. */
  readonly streams?: boolean;
  /** Valid by the schemas: a test sees to it. */
  readonly example: {
    readonly params?: Readonly<Record<string, string>>;
    readonly query?: Readonly<Record<string, unknown>>;
    readonly body?: unknown;
    readonly response: unknown;
  };
}

export interface Route extends RouteDescription {
  serve(gateway: Gateway, context: Context): Response | Promise<Response>;
}

/** What a handler gets: proven, checked and typed. */
interface RouteRequest<Path extends string, Query, Body> {
  readonly gateway: Gateway;
  readonly principal: Principal;
  readonly params: Readonly<Record<ParamNames<Path>, string>>;
  readonly query: Query;
  readonly body: Body;
  /** The body as it came; empty on routes that take none. */
  readonly bytes: Uint8Array;
  /** The address under which this gateway is known: `https://gate.example.com`. */
  readonly publicUrl: string;
  /** Which forms of an answer the caller takes. */
  readonly accept: string;
}

type ParamNames<Path extends string> = Path extends `${string}{${infer Name}}${infer Rest}`
  ? (Name extends `+${infer Plain}` ? Plain : Name) | ParamNames<Rest>
  : never;

interface RouteSpec<Path extends string, Query extends z.ZodObject, Body extends z.ZodType, Answer>
  extends RouteDescription {
  readonly path: Path;
  readonly security: PrincipalKind;
  readonly query?: Query;
  readonly body?: Body;
  readonly response: z.ZodType<unknown, Answer>;
  handler(request: RouteRequest<Path, z.output<Query>, z.output<Body>>): Answer | Response | Promise<Answer | Response>;
}

/** Longer than any statement may take; only a database that went silent lets a handler wait so long. */
const HANDLER_WAIT_MS = 20_000;

const none = z.strictObject({});
const nothing = new Uint8Array();

/** A route for proven callers; its answer is JSON, or a whole response of the handler's own. Whatever its handler throws, the app answers. */
export function defineRoute<
  const Path extends string,
  Answer,
  Query extends z.ZodObject = typeof none,
  Body extends z.ZodType = z.ZodUndefined,
>(spec: RouteSpec<Path, Query, Body, Answer>): Route {
  const serve = async (gateway: Gateway, context: Context): Promise<Response> => {
    const principal = await principalOf(gateway, context, spec.security);
    const params = readParams<Path>(context);
    const query = check(spec.query ?? none, context.req.query()) as z.output<Query>;
    const bytes = spec.body === undefined ? nothing : await readBody(context.req.raw, gateway.platform.config.limits);
    const body = spec.body === undefined ? undefined : check(spec.body, readJson(bytes));
    const request = {
      gateway,
      principal,
      params,
      query,
      body: body as z.output<Body>,
      bytes,
      publicUrl: publicUrl(gateway, context),
      accept: context.req.header('accept') ?? '',
    };
    const respond = async () => {
      const answer = await withDeadline(Promise.resolve(spec.handler(request)), HANDLER_WAIT_MS).catch(unlessTransient);
      if (answer instanceof Response) return answer;
      // Answers hold balances and new keys: no cache may keep them.
      return context.json(answer, 200, { 'cache-control': 'no-store' });
    };
    if (spec.method !== 'post') return respond();
    const { path, raw } = context.req;
    return respondOnce(gateway, raw, { keyId: principal.keyId, path, body: bytes }, respond);
  };
  return { ...spec, serve };
}

/** Who calls: the owner of a key, or of a wallet that signs in. */
async function principalOf(gateway: Gateway, context: Context, kind: PrincipalKind): Promise<Principal> {
  const header = (name: string) => context.req.header(name);
  const authorization = header('authorization');
  if (kind === 'agent' && authorization === undefined && gateway.payments !== null) {
    const owner = await gateway.payments.signedIn(header);
    if (owner !== null) return owner;
  }
  return gateway.keyring.authenticate(authorization, kind);
}

/** Mounts what was declared, and nothing else. */
export function mount(gateway: Gateway, routes: readonly Route[]): Hono {
  const app = new Hono();
  for (const route of routes) {
    app.on(route.method.toUpperCase(), honoPath(route.path), (context) => route.serve(gateway, context));
  }
  return app;
}

/** The address under which this gateway is known: as configured, else as the caller wrote it. */
export function publicUrl(gateway: Gateway, context: Context): string {
  return (gateway.platform.config.gatewayUrl ?? new URL(context.req.url).origin).replace(/\/+$/, '');
}

/** A declared path as Hono writes it. */
function honoPath(path: string): string {
  return path.replace(/\{\+(\w+)\}/g, ':$1{.+}').replace(/\{(\w+)\}/g, ':$1');
}

function unlessTransient(error: unknown): never {
  if (!isTransient(error)) throw error;
  throw apiError('ledger_unavailable', 'The database is away: ask again.', { retryAfterMs: 1_000 });
}

/** Path parameters; one that no id can be leads nowhere. */
function readParams<Path extends string>(context: Context): Readonly<Record<ParamNames<Path>, string>> {
  const params: Record<string, string> = context.req.param();
  for (const value of Object.values(params)) {
    if (/\p{Cc}/u.test(value)) throw apiError('not_found', 'There is nothing under this address.');
  }
  return params as Record<ParamNames<Path>, string>;
}

/** The value as the schema makes it. Throws `invalid_request` that names the first field at fault. */
export function check<Schema extends z.ZodType>(schema: Schema, value: unknown): z.output<Schema> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  if (issue?.code === 'unrecognized_keys') {
    const param = paramName([...issue.path, ...issue.keys.slice(0, 1)]);
    throw apiError('invalid_request', `\`${param}\` is not a field here.`, { param });
  }
  const param = paramName(issue?.path ?? []);
  const problem = issue?.message ?? 'it is not valid';
  if (param === '') throw apiError('invalid_request', `The body is wrong: ${problem}.`);
  throw apiError('invalid_request', `\`${param}\` is wrong: ${problem}.`, { param });
}

/** A path as OpenAI writes it: `models[0].id`. */
function paramName(path: readonly PropertyKey[]): string {
  return path.reduce<string>((name, part) => {
    if (typeof part === 'number') return `${name}[${part}]`;
    return name === '' ? String(part) : `${name}.${String(part)}`;
  }, '');
}
