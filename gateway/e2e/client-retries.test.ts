/** The stock client on a bad network: it sends again what it sent before, without a word of its own that says so. */
import OpenAI from 'openai';
import { expect, test } from 'vitest';
import { startTestGateway, type TestGateway } from '../testing.ts';
import { type Fate, startDroppingProxy } from './dropping-proxy.ts';

const CALLS = parseInt(process.env.FAREGATE_RETRIED_CALLS ?? '200', 10);
const AT_ONCE = 20;

interface Call {
  readonly id: string;
  readonly outcome: string;
  readonly charged_nanousd: string;
}

async function allCalls(gateway: TestGateway): Promise<Call[]> {
  const found: Call[] = [];
  for (let after = ''; ; after = `&after=${found.at(-1)?.id}`) {
    const { data, has_more } = await gateway.agent('GET', `/calls?limit=100${after}`);
    found.push(...(data as Call[]));
    if (has_more !== true) return found;
  }
}

/** Runs `work` for each number below `count`, `AT_ONCE` of them at a time. */
async function spread(count: number, work: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const lane = async () => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
}

const retriesOf = (request: string) => Number(/x-stainless-retry-count: (\d+)/i.exec(request)?.[1]);

test(`${CALLS} calls of the stock client through a network that drops two of three: one charge for each`, async () => {
  await using gateway = await startTestGateway({ simulators: [{ decodeBaseMs: 4 }] });
  // The fates follow one another, so that every run meets each of them; a second retry is spared.
  const fates: readonly Fate[] = ['unsent', 'waiting', 'answered', 'answered', 'waiting', 'spared'];
  let turn = 0;
  const fateOf = (request: string): Fate => {
    const fate = fates[turn++ % fates.length] ?? 'spared';
    return retriesOf(request) < 2 ? fate : 'spared';
  };
  await using proxy = await startDroppingProxy(gateway.url, fateOf, 15);
  const openai = new OpenAI({ baseURL: `${proxy.url}/v1`, apiKey: gateway.apiKey, maxRetries: 2 });
  const answeredBy: string[] = [];
  await spread(CALLS, async (index) => {
    const messages = [{ role: 'user' as const, content: `Question ${index}` }];
    const call = { model: 'tiny', messages, max_tokens: 6 };
    if (index % 2 === 0) {
      const { data, response } = await openai.chat.completions.create(call).withResponse();
      expect(data.choices[0]?.message.content).toBeTruthy();
      answeredBy.push(String(response.headers.get('x-faregate-call')));
    } else {
      const { data, response } = await openai.chat.completions.create({ ...call, stream: true }).withResponse();
      let finished = false;
      for await (const chunk of data) finished ||= chunk.choices[0]?.finish_reason === 'length';
      expect(finished).toBe(true);
      answeredBy.push(String(response.headers.get('x-faregate-call')));
    }
  });
  for (const count of Object.values(proxy.met)) expect(count).toBeGreaterThan(CALLS / 10);
  await expect.poll(() => gateway.running.gateway.openCalls.size, { timeout: 10_000 }).toBe(0);
  const charged = (await allCalls(gateway)).filter(({ charged_nanousd }) => charged_nanousd !== '0');
  expect(charged.map(({ id }) => id).toSorted()).toEqual(answeredBy.toSorted());
  expect(new Set(answeredBy).size).toBe(CALLS);
}, 3_600_000);
