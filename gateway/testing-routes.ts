/** A client for tests of ordinary routes: every answer that it sees must be as it is declared. */
import { expect } from 'vitest';
import { z } from 'zod';
import { adminRouteList } from './admin-routes.ts';
import { agentRouteList } from './agent-routes.ts';
import { operatorRouteList } from './operator-routes.ts';

export const declaredRoutes = [...agentRouteList, ...operatorRouteList, ...adminRouteList];

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Record<string, unknown>;
}

export type Ask = (method: string, path: string, body?: unknown) => Promise<Answer>;

const errorShape = z.strictObject({
  error: z.strictObject({
    message: z.string().min(1),
    type: z.string(),
    param: z.string().nullable(),
    code: z.string(),
  }),
});

/** A client with this key, or none. A body that is text goes as it is. */
export function asker(url: string, key: string | null): Ask {
  return async (method, path, body) => {
    const response = await fetch(url + path, {
      method,
      headers: { 'content-type': 'application/json', ...(key === null ? {} : { authorization: `Bearer ${key}` }) },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const answer = (await response.json()) as Record<string, unknown>;
    const schema = response.ok ? schemaOf(method, path) : errorShape;
    expect(schema.safeParse(answer).error, `${method} ${path} answered ${JSON.stringify(answer)}`).toBeUndefined();
    return { status: response.status, headers: response.headers, body: answer };
  };
}

/** The code and param of an error answer. */
export function errorOf({ status, body }: Answer): { status: number; code: unknown; param: unknown } {
  const { code, param } = body.error as { code: unknown; param: unknown };
  return { status, code, param };
}

function schemaOf(method: string, path: string): z.ZodType {
  const [plain = ''] = path.split('?');
  const route = declaredRoutes.find((declared) => {
    const pattern = declared.path.replace(/\{\+\w+\}/g, '.+').replace(/\{\w+\}/g, '[^/]+');
    return declared.method === method.toLowerCase() && new RegExp(`^${pattern}$`).test(plain);
  });
  if (route === undefined) throw new Error(`${method} ${path} is not declared`);
  return route.response;
}
