import { parseArgs } from 'node:util';
import { stderrProgress } from './progress.ts';
import { startVllm } from './server.ts';

const HELP = `npm run vllm [-- options] [-- flags of "vllm serve"]

Starts a real vLLM on the CPU with a tiny model that talks gibberish, and installs both first where they are missing
(Linux, Python 3.10, about 6 GB in .vllm or FAREGATE_VLLM_HOME, three minutes). Prints one line of JSON when ready:
{"event":"ready","url":"http://127.0.0.1:…","pid":…}. Ctrl-C stops it.

  --port N        listen here (default: any free port)
  --api-key KEY   ask for this key (default: none, every process of this machine may call)
  --embedding     serve embeddings instead of text
  --help`;

/** Installs, serves until a signal or the server's own end, and returns the exit code. */
async function main(argv: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: argv,
    allowPositionals: true,
    options: {
      port: { type: 'string', default: '0' },
      'api-key': { type: 'string', default: '' },
      embedding: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(`${HELP}\n`);
    return 0;
  }
  const interrupt = new AbortController();
  const interrupted = new Promise<void>((resolve) => {
    interrupt.signal.addEventListener('abort', () => resolve(), { once: true });
  });
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => interrupt.abort());

  try {
    const vllm = await startVllm({
      port: Number(values.port),
      apiKey: values['api-key'],
      embedding: values.embedding,
      flags: positionals,
      progress: stderrProgress(),
      signal: interrupt.signal,
    });
    process.stdout.write(`${JSON.stringify({ event: 'ready', url: vllm.url, pid: process.pid, model: vllm.model })}\n`);
    await Promise.race([interrupted, vllm.ended]);
    await vllm.close();
    return interrupt.signal.aborted ? 0 : 1;
  } catch (error) {
    if (interrupt.signal.aborted) return 130;
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    return 1;
  }
}

process.exitCode = await main(process.argv.slice(2));
