import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { expect, test } from 'vitest';

const COMMAND = `import(${JSON.stringify(new URL('command.ts', import.meta.url).href)})
  .then(({ simulateVllmCommand }) => simulateVllmCommand(process.argv.slice(1)))
  .then((status) => { process.exitCode = status; });`;

/** Runs the command in a process of its own. */
function run(...options: string[]) {
  const child = spawn(process.execPath, ['-e', COMMAND, '--', ...options], { stdio: ['ignore', 'pipe', 'pipe'] });
  const said = { out: '', err: '' };
  child.stdout.on('data', (text) => {
    said.out += text;
  });
  child.stderr.on('data', (text) => {
    said.err += text;
  });
  const ended = once(child, 'close').then(([status]) => status as number | null);
  return { child, said, ended };
}

test('--help tells every option and exits 0', async () => {
  const { said, ended } = run('--help');
  expect(await ended).toBe(0);
  expect(said.out).toContain('--decode-per-request-ms');
});

test('bad usage exits 2 and says why', async () => {
  for (const [options, reason] of [
    [['--nope'], 'nope'],
    [['--port', 'x'], '--port'],
    [['--on-sigterm', 'x'], '--on-sigterm'],
  ] as const) {
    const { said, ended } = run(...options);
    expect(await ended).toBe(2);
    expect(said.err).toContain(reason);
  }
});

test('options that contradict exit 1', async () => {
  const { said, ended } = run('--kv-blocks', '2');
  expect(await ended).toBe(1);
  expect(said.err).toContain('KV cache');
});

test('prints one ready line, serves as told, and ends its calls with abort on SIGTERM', async () => {
  const { child, said, ended } = run('--model', 'demo', '--api-key', 'k', '--no-tool-parser', '--decode-base-ms', '5');
  const [line] = await once(createInterface(child.stdout), 'line');
  const ready = JSON.parse(String(line));
  expect(ready).toEqual({ event: 'ready', url: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/), pid: child.pid });
  const response = await fetch(`${ready.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: 'Bearer k' },
    body: JSON.stringify({
      model: 'demo',
      messages: [{ role: 'user', content: 'Hi' }],
      stream: true,
      ignore_eos: true,
    }),
  });
  const reader = response.body?.getReader();
  await reader?.read();
  child.kill('SIGTERM');
  let text = '';
  for (let read = await reader?.read(); read?.done === false; read = await reader?.read()) {
    text += Buffer.from(read.value).toString();
  }
  expect(text).toContain('"finish_reason":"abort"');
  expect(await ended).toBe(0);
  expect(said.out.trim().split('\n')).toHaveLength(1);
});
