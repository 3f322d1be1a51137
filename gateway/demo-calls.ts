/** The calls that the demo makes, over HTTP like anybody's. */
import { client, type DemoWorld } from './demo-world.ts';

/** One line of the demo's table; money in nano-USD as the gateway tells it. */
export interface DemoCall {
  readonly name: string;
  readonly worker: string | null;
  readonly outcome: string;
  readonly ttftMs: number | null;
  readonly totalMs: number | null;
  readonly tokens: string;
  readonly heldNanousd: string | null;
  readonly chargedNanousd: string | null;
  readonly balanceNanousd: string | null;
}

const ABORT_AFTER_BYTES = 4_000;

export async function makeCalls(url: string, world: DemoWorld): Promise<DemoCall[]> {
  const ask = (content: string, more: object = {}) => ({
    model: world.model,
    messages: [{ role: 'user', content }],
    max_tokens: 120,
    ...more,
  });
  const calls: DemoCall[] = [];
  calls.push(await make('whole answer', url, world.agentKey, ask('What does a fare gate do?')));
  calls.push(await make('streamed', url, world.agentKey, ask('Tell me about queues.', { stream: true })));
  const burst = [1, 2, 3, 4, 5, 6].map((number) =>
    make(`one of six at once (${number})`, url, world.agentKey, ask(`Write ${number} sentences.`, { stream: true })),
  );
  calls.push(...(await Promise.all(burst)));
  const long = ask('Write a long story.', { stream: true, max_tokens: 2_000 });
  calls.push(await make('caller leaves early', url, world.agentKey, long, ABORT_AFTER_BYTES));
  calls.push(await make('too poor', url, world.poorKey, ask('Hello?')));
  return calls;
}

/** Makes one call; with `leaveAfterBytes` the caller hangs up in mid-stream. */
async function make(name: string, url: string, key: string, body: object, leaveAfterBytes?: number): Promise<DemoCall> {
  const control = new AbortController();
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
    signal: control.signal,
  });
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (leaveAfterBytes !== undefined && bytes >= leaveAfterBytes) break;
  }
  control.abort();
  const id = response.headers.get('x-faregate-call');
  return {
    name,
    ...(response.ok && id !== null ? await settled(url, key, id) : await refused(url, key, response.status)),
  };
}

type Facts = Omit<DemoCall, 'name'>;

/** What the gateway's own record of the call says, once it is closed. */
async function settled(url: string, key: string, id: string): Promise<Facts> {
  const agent = client(`${url}/v1`, key);
  for (;;) {
    const call = await agent('GET', `/calls/${id}`);
    if (call.status !== 'closed') {
      await new Promise((resolve) => setTimeout(resolve, 20));
      continue;
    }
    const usage = call.usage as { prompt_tokens: number; completion_tokens: number };
    return {
      worker: call.worker as string | null,
      outcome: String(call.outcome),
      ttftMs: call.ttft_ms as number | null,
      totalMs: call.total_ms as number,
      tokens: `${usage.prompt_tokens} + ${usage.completion_tokens}`,
      heldNanousd: String(call.held_nanousd),
      chargedNanousd: String(call.charged_nanousd),
      balanceNanousd: await balance(url, key),
    };
  }
}

async function refused(url: string, key: string, status: number): Promise<Facts> {
  return {
    worker: null,
    outcome: `refused (${status})`,
    ttftMs: null,
    totalMs: null,
    tokens: '–',
    heldNanousd: null,
    chargedNanousd: '0',
    balanceNanousd: await balance(url, key),
  };
}

async function balance(url: string, key: string): Promise<string> {
  return String((await client(`${url}/v1`, key)('GET', '/account')).balance_nanousd);
}
