/** /openapi.json, made of the declarations that the routes are mounted from. */
import { z } from 'zod';
import type { RouteDescription } from './route.ts';

const errorSchema = z.strictObject({
  error: z.strictObject({
    message: z.string().describe('what is wrong and what to do next'),
    type: z.string(),
    param: z.string().nullable().describe('the request field at fault'),
    code: z.string(),
  }),
  payment: z.looseObject({ amount_nanousd: z.string() }).optional().describe('of a 402: how a wallet can pay'),
});

const keyNames = {
  agent: 'An agent: `fg_live_…` or `fg_test_…`.',
  operator: 'An operator of workers: `fg_op_…`.',
  admin: 'The host: `fg_adm_…`.',
} as const;

/** The OpenAPI 3.1 document of these routes. */
export function openApiDocument(routes: readonly RouteDescription[]): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const route of routes) {
    const path = openApiPath(route.path);
    paths[path] = { ...paths[path], [route.method]: operation(route) };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Faregate',
      version: '1',
      description:
        'Inference for agents behind the API of OpenAI: every call is priced, held, metered and charged exactly.',
    },
    servers: [{ url: '/' }],
    paths,
    components: {
      schemas: { Error: jsonSchema(errorSchema, 'output') },
      securitySchemes: Object.fromEntries(
        Object.entries(keyNames).map(([name, description]) => [name, { type: 'http', scheme: 'bearer', description }]),
      ),
    },
  };
}

/** A declared path as OpenAPI writes it. */
function openApiPath(path: string): string {
  return path.replaceAll('{+', '{');
}

function operation(route: RouteDescription): object {
  const { body, security, summary, example } = route;
  const parameters = [...pathParameters(route), ...queryParameters(route), ...headerParameters(route)];
  return {
    operationId: operationId(route),
    summary,
    tags: [route.path.split('/')[1] === 'v1' ? 'agent' : (security ?? 'open')],
    security: security === null ? [] : [{ [security]: [] }],
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(body === undefined
      ? {}
      : {
          requestBody: {
            required: true,
            content: { 'application/json': { schema: jsonSchema(body, 'input'), example: example.body } },
          },
        }),
    responses: {
      200: { description: 'Done.', content: answers(route) },
      default: {
        description: 'An error, in the shape of OpenAI.',
        content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } },
      },
    },
  };
}

function answers({ response, contentType, streams, example }: RouteDescription): object {
  return {
    [contentType ?? 'application/json']: { schema: jsonSchema(response, 'output'), example: example.response },
    ...(streams === true ? { 'text/event-stream': { schema: { type: 'string' } } } : {}),
  };
}

function pathParameters({ path, example }: RouteDescription): object[] {
  return [...path.matchAll(/\{\+?(\w+)\}/g)].map(([, name = '']) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
    ...(example.params?.[name] === undefined ? {} : { example: example.params[name] }),
  }));
}

function queryParameters({ query, example }: RouteDescription): object[] {
  return Object.entries(query?.shape ?? {}).map(([name, schema]) => ({
    name,
    in: 'query',
    required: false,
    schema: jsonSchema(schema, 'input'),
    ...(example.query?.[name] === undefined ? {} : { example: example.query[name] }),
  }));
}

function headerParameters({ method }: RouteDescription): object[] {
  if (method !== 'post') return [];
  const description = 'Sent again, it is given the first answer, and nothing is done or charged twice.';
  return [{ name: 'Idempotency-Key', in: 'header', required: false, description, schema: { type: 'string' } }];
}

/** Such as `get_v1_calls_id_receipt`. */
function operationId({ method, path }: RouteDescription): string {
  return [method, ...(path.match(/\w+/g) ?? [])].join('_');
}

function jsonSchema(schema: z.core.$ZodType, io: 'input' | 'output'): object {
  const { $schema, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' });
  return rest;
}
