import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createApp } from './app.ts';
import { inferenceDescriptions } from './inference-descriptions.ts';
import { mintKey } from './keys.ts';
import type { RouteDescription } from './route.ts';
import { startTestGateway, type TestGateway } from './testing.ts';
import { asker, declaredRoutes, errorOf } from './testing-routes.ts';

let gateway: TestGateway;
let document: { paths: Record<string, Record<string, unknown>>; [member: string]: unknown };

beforeAll(async () => {
  gateway = await startTestGateway({ simulators: [] });
  document = (await (await fetch(`${gateway.url}/openapi.json`)).json()) as typeof document;
});

afterAll(async () => {
  await gateway.stop();
});

const described: readonly RouteDescription[] = [...inferenceDescriptions, ...declaredRoutes];

test('openapi.json lists exactly the routes that are mounted', () => {
  const transport = { serve: () => new Response() };
  const mounted = createApp(gateway.running.gateway, transport)
    .routes.filter(({ method }) => method !== 'ALL')
    .map(({ method, path }) => `${method} ${path.replace(/:(\w+)(\{\.\+\})?/g, '{$1}')}`);
  const listed = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
  expect(new Set(mounted).size).toBe(mounted.length);
  expect(listed.toSorted()).toEqual(mounted.toSorted());
});

test.each(described.map((route) => [`${route.method} ${route.path}`, route] as const))(
  'the examples of %s are valid',
  (_name, { path, query, body, response, example }) => {
    expect(response.safeParse(example.response).error).toBeUndefined();
    expect(body?.safeParse(example.body).error).toBeUndefined();
    expect(query?.safeParse(example.query ?? {}).error).toBeUndefined();
    const names = [...path.matchAll(/\{\+?(\w+)\}/g)].map(([, name]) => name);
    expect(Object.keys(example.params ?? {})).toEqual(names);
  },
);

test('every reference in openapi.json leads somewhere, and every operation has a name of its own', () => {
  const text = JSON.stringify(document);
  for (const [, reference = ''] of text.matchAll(/"\$ref":"#\/([^"]+)"/g)) {
    const target = reference
      .split('/')
      .reduce<unknown>((at, part) => (at as Record<string, unknown>)?.[part], document);
    expect(target, reference).toBeDefined();
  }
  const names = [...text.matchAll(/"operationId":"([^"]+)"/g)].map(([, name]) => name);
  expect(names.length).toBe(Object.values(document.paths).flatMap((methods) => Object.keys(methods)).length);
  expect(new Set(names).size).toBe(names.length);
});

const keyed = described
  .filter(({ security }) => security !== null)
  .map((route) => [`${route.method} ${route.path}`, route] as const);

test.each(keyed)(
  '%s answers 401 without a key or with an unknown one, 403 with a key of another kind',
  async (_name, route) => {
    const path = route.path.replace(/\{\+?(\w+)\}/g, (_whole, name: string) => route.example.params?.[name] ?? name);
    const refusal = async (key: string | null) =>
      errorOf(await asker(gateway.url, key)(route.method.toUpperCase(), path, route.example.body));
    expect(await refusal(null)).toMatchObject({ status: 401, code: 'invalid_api_key' });
    expect(await refusal(mintKey('live', randomBytes))).toMatchObject({ status: 401, code: 'invalid_api_key' });
    const others = { agent: gateway.operatorKey, operator: gateway.running.adminKey, admin: gateway.apiKey };
    const other = route.security === null ? null : others[route.security];
    expect(await refusal(other)).toMatchObject({ status: 403, code: 'forbidden' });
  },
);
