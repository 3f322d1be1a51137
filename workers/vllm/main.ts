import { parseArgs } from 'node:util';
import { stderrProgress } from '../progress.ts';
import { startVllm, type VllmOptions } from './server.ts';

const HELP = `npm run vllm [-- options [-- flags of "vllm serve"]]

Starts a real vLLM on the CPU with a tiny model that talks gibberish, and installs both first where they are missing
(Linux, Python 3.10, about 6 GB in .vllm or FAREGATE_VLLM_HOME, three minutes). Prints one line of JSON when ready:
{"event":"ready","url":"http://127.0.0.1:…","pid":…}. Ctrl-C stops it.

  --port N        listen here (default: any free port)
  --api-key KEY   ask for this key (default: none, every process of this machine may call)
  --embedding     serve embeddings instead of text
  --help`;

const OK = 0;
const FAILED = 1;
const BAD_USAGE = 2;

/** Installs, serves until a signal or the server's own end, and returns the exit code. */
async function main(argv: string[]): Promise<number> {
  const options = readOptions(argv);
  if (options === 'help') {
    process.stdout.write(`${HELP}\n`);
    return OK;
  }
  if (options instanceof Error) {
    process.stderr.write(`${options.message}\n${HELP}\n`);
    return BAD_USAGE;
  }
  const interrupt = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => interrupt.abort());
  try {
    await serveUntil(interrupt.signal, options);
    return OK;
  } catch (error) {
    if (interrupt.signal.aborted) return OK;
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    return FAILED;
  }
}

async function serveUntil(signal: AbortSignal, options: VllmOptions): Promise<void> {
  const vllm = await startVllm({ ...options, progress: stderrProgress(), signal });
  process.stdout.write(`${JSON.stringify({ event: 'ready', url: vllm.url, pid: process.pid, model: vllm.model })}\n`);
  const interrupted = new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
  await Promise.race([interrupted, vllm.ended]);
  await vllm.close();
  if (!signal.aborted) throw new Error('vLLM ended by itself; serve.log beside it says why.');
}

function readOptions(argv: string[]): VllmOptions | 'help' | Error {
  try {
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
    if (values.help) return 'help';
    if (!/^\d{1,5}$/.test(values.port)) return new Error(`--port ${values.port} is not a port number`);
    const port = Number(values.port);
    return { port, apiKey: values['api-key'], embedding: values.embedding, flags: positionals };
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

process.exitCode = await main(process.argv.slice(2));
