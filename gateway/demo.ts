/** `faregate demo`: a whole market on one machine, and a few calls to show what happens. */
import { parseArgs } from 'node:util';
import { violations } from '../db/checks.ts';
import type { LocalChain } from '../payments/chain/local.ts';
import { stderrProgress } from '../workers/progress.ts';
import { type Config, readConfig } from './config.ts';
import { type DemoCall, makeCalls } from './demo-calls.ts';
import { buildWorld, type DemoWorld } from './demo-world.ts';
import { type RunningGateway, startGateway } from './node.ts';
import { untilStopped } from './shutdown.ts';
import { renderTable } from './table.ts';

const HELP = `faregate demo [--once] [--wallet]

Starts Postgres, the gateway and three simulated workers of two operators, funds an agent, makes a few calls and shows
what each of them cost. Stays up until Ctrl-C; with --once it checks that the books balance and exits.
With --wallet an agent without a key pays by x402 on a local chain, takes the rest home, and the operators are paid.
With FAREGATE_VLLM_URL (and FAREGATE_VLLM_KEY) a real vLLM is registered beside the simulators.
`;

export async function demoCommand(argv: string[]): Promise<number> {
  const flag = { type: 'boolean' } as const;
  const { values } = parseArgs({ args: argv, options: { help: flag, once: flag, wallet: flag } });
  if (values.help === true) {
    process.stdout.write(HELP);
    return 0;
  }
  const config = readConfig({ FAREGATE_LOG: 'warn', ...process.env, FAREGATE_ALLOW_PRIVATE_WORKERS: '1' });
  const demoChain = values.wallet === true ? await (await import('./demo-wallet.ts')).startDemoChain() : null;
  try {
    return await runDemo(demoChain === null ? config : { ...config, payments: demoChain.payments }, {
      once: values.once === true,
      chain: demoChain?.chain ?? null,
    });
  } finally {
    await demoChain?.chain.stop();
  }
}

async function runDemo(config: Config, { once, chain }: { once: boolean; chain: LocalChain | null }): Promise<number> {
  const progress = stderrProgress();
  progress.step('starting Postgres and the gateway (the first start creates the database)');
  const running = await startGateway(config);
  // What was started is stopped in this order, whatever goes wrong: the gateway first, while its workers still answer.
  const ends = [(hurry?: AbortSignal) => running.stop(hurry)];
  const stop = async (hurry?: AbortSignal) => {
    for (const end of ends.splice(0)) await end(hurry);
  };
  try {
    progress.step('starting three simulated workers and waiting until each has answered a first call');
    const world = await buildWorld(running, config);
    ends.push(() => world.close());
    progress.done();
    process.stdout.write(`${JSON.stringify({ event: 'ready', url: running.url, pid: process.pid })}\n`);
    await showCalls(running, world, chain);
    const balanced = await showBooks(running);
    if (once) return balanced ? 0 : 1;
    say(howToCall(running.url, world));
    say(`Its Postgres, for psql and for the edge (README): ${running.databaseUrl}\n`);
    await untilStopped(stop);
    return 0;
  } finally {
    await stop();
  }
}

async function showCalls(running: RunningGateway, world: DemoWorld, chain: LocalChain | null): Promise<void> {
  const progress = stderrProgress();
  progress.step('making a few calls');
  const calls = await makeCalls(running.url, world);
  progress.done();
  say(`\n${renderTable(calls.map((call) => tableRow(call, world)))}\n`);
  if (chain === null) return;
  const { walletSteps } = await import('./demo-wallet.ts');
  say(`${renderTable(await walletSteps(running, world, chain))}\n`);
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

function tableRow(call: DemoCall, world: DemoWorld): Record<string, string> {
  return {
    call: call.name,
    worker: call.worker === null ? '–' : (world.workerNames.get(call.worker) ?? call.worker),
    outcome: call.outcome,
    'first token ms': call.ttftMs === null ? '–' : String(call.ttftMs),
    'total ms': call.totalMs === null ? '–' : String(call.totalMs),
    tokens: call.tokens,
    'held $': usd(call.heldNanousd),
    'charged $': usd(call.chargedNanousd),
    'balance $': usd(call.balanceNanousd),
  };
}

function usd(nanousd: string | null): string {
  return nanousd === null ? '–' : `${nanousd.padStart(10, '0').replace(/(\d{9})$/, '.$1')}`;
}

async function showBooks(running: RunningGateway): Promise<boolean> {
  await running.gateway.ledger.settler.drain();
  const found = await violations(running.gateway.platform.database.sql);
  for (const { check, subject, detail } of found) say(`the books do not balance: ${check}: ${subject} ${detail}`);
  if (found.length === 0) say('The books balance: every check of db/checks.sql returns no row.');
  return found.length === 0;
}

function howToCall(url: string, world: DemoWorld): string {
  return `
Call it yourself (Ctrl-C stops everything):

  curl ${url}/v1/chat/completions -H 'authorization: Bearer ${world.agentKey}' -H 'content-type: application/json' \\
    -d '{"model":"${world.model}","messages":[{"role":"user","content":"Hello"}]}'

  # Python
  from openai import OpenAI
  client = OpenAI(base_url="${url}/v1", api_key="${world.agentKey}")
  print(client.chat.completions.create(model="${world.model}", messages=[{"role": "user", "content": "Hello"}]))

  // TypeScript
  import OpenAI from 'openai';
  const client = new OpenAI({ baseURL: '${url}/v1', apiKey: '${world.agentKey}' });
  console.log(await client.chat.completions.create({ model: '${world.model}', messages: [{ role: 'user', content: 'Hello' }] }));
`;
}
