import { describe, expect, it } from 'vitest';
import { added, lostWithoutUsage, type OwnAnswer, ownAnswers, varying, type Where } from './differences.ts';
import { type Answer, type RecordedCase, recordedCases, type Server, send } from './recorded-cases.ts';
import { lanesOf } from './stream-lanes.ts';

export interface DifferentialTargets {
  readonly engine: Server;
  readonly embeddingEngine: Server;
  readonly gateway: { readonly url: string; readonly apiKey: string };
}

/**
 * Declares one test for each recorded case: sent to a real vLLM and through the gateway to the same vLLM, it must be
 * answered alike but for the listed differences.
 */
export function differentialSuite(targets: () => DifferentialTargets): void {
  const cases = recordedCases();

  describe('a recorded case gets the same answer direct and through the gateway', () => {
    it.each(cases)('$name', async (recorded) => {
      const { engine, embeddingEngine, gateway } = targets();
      const server = recorded.embedding ? embeddingEngine : engine;
      const direct = await send(recorded, server);
      const through = await send(recorded, { ...gateway, model: server.model });
      const own = ownAnswers[recorded.name];
      if (own === undefined) expectAlike(recorded, direct, through);
      else expectOwn(own, through, () => expectAlike(recorded, direct, through));
    });

    it('every listed case exists', () => {
      const names = cases.map(({ name }) => name);
      expect(Object.keys(ownAnswers).filter((name) => !names.includes(name))).toEqual([]);
    });
  });
}

/** The gateway's own answer, which must be another one than vLLM's: else it need not be listed. */
function expectOwn(own: OwnAnswer, through: Answer, expectSame: () => void) {
  expect(through.status).toBe(own.status);
  if (own.status >= 400) expect(through.content).toMatchObject({ error: { code: own.code, param: own.param ?? null } });
  expect(expectSame, 'a listed case must differ').toThrow();
}

function expectAlike(recorded: RecordedCase, direct: Answer, through: Answer) {
  expect(through.status, JSON.stringify(through.content)).toBe(direct.status);
  expect(mediaType(through)).toBe(mediaType(direct));
  if (direct.status >= 400) expectSameError(recorded, direct, through);
  else if (recorded.method === 'GET') expectListed(direct, through);
  else expect(comparable(through, true)).toEqual(comparable(direct, false));
}

const mediaType = ({ contentType }: Answer) => contentType.split(';')[0];

/** The uniform shape, and the same field at fault where vLLM names one. */
function expectSameError(recorded: RecordedCase, direct: Answer, through: Answer) {
  expect(through.content).toEqual({
    error: {
      message: expect.stringMatching(/\S/),
      type: expect.stringMatching(/^[a-z_]+$/),
      param: expect.toSatisfy((param) => param === null || typeof param === 'string'),
      code: expect.stringMatching(/^[a-z_]+$/),
    },
  });
  const named = member(member(direct.content, 'error'), 'param');
  if (typeof named !== 'string' || !recorded.body?.includes(`"${named}"`)) return;
  expect(member(member(through.content, 'error'), 'param'), 'the field at fault').toBe(named);
}

/** The gateway lists the models of all its workers, in its own words; those of this vLLM must be there. */
function expectListed(direct: Answer, through: Answer) {
  const ids = (answer: Answer) => list(member(answer.content, 'data')).map((model) => member(model, 'id'));
  expect(member(through.content, 'object')).toBe('list');
  expect(ids(through)).toEqual(expect.arrayContaining(ids(direct)));
}

/** An answer without its listed differences; a stream as one sequence of events per choice. */
function comparable({ content }: Answer, fromGateway: boolean): unknown {
  if (!Array.isArray(content)) return withoutDifferences(content, fromGateway ? added : []);
  const usageAt = content.length - 2; // before [DONE], if there is any
  const lost = member(content[usageAt], 'usage') == null && !fromGateway ? lostWithoutUsage : [];
  return lanesOf(content.map((event, i) => withoutDifferences(event, fromGateway && i === usageAt ? added : [], lost)));
}

/** Checks that the gateway added what it adds where there is usage, and takes that, what it loses and what varies away. */
function withoutDifferences(answer: unknown, additions: readonly Where[], lost: readonly Where[] = []): unknown {
  const missing = new Set(member(answer, 'usage') == null ? [] : additions);
  const isDropped = (path: string) => {
    const addition = [...missing].find((where) => where.path.test(path));
    return (addition !== undefined && missing.delete(addition)) || lost.some((where) => where.path.test(path));
  };
  const walk = (value: unknown, path: string): unknown => {
    if (varying.some((where) => where.path.test(path))) return value === null ? null : `(a ${typeof value})`;
    if (Array.isArray(value)) return value.map((item, i) => walk(item, `${path}[${i}]`));
    if (typeof value !== 'object' || value === null) return value;
    const members = Object.entries(value).map(([key, item]) => ({
      key,
      item,
      at: path === '' ? key : `${path}.${key}`,
    }));
    return Object.fromEntries(
      members.filter(({ at }) => !isDropped(at)).map(({ key, item, at }) => [key, walk(item, at)]),
    );
  };
  const rest = walk(answer, '');
  expect([...missing], 'the gateway should have added these').toEqual([]);
  return rest;
}

function member(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined;
}

function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}
