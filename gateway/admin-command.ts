/** `faregate admin …`: a thin client of the running gateway's admin routes. Exit 0 done, 1 failed, 2 bad usage. */
import { parseArgs } from 'node:util';
import { type AdminCommand, adminCommands, type Values } from './admin-commands.ts';
import { type Config, readConfig } from './config.ts';
import { readAdminKey, readWhereabouts } from './data-dir.ts';

const ANSWER_WAIT_MS = 30_000;

const HELP = `faregate admin <command> [options]

${adminCommands.map(({ words, about }) => `  ${words.padEnd(16)} ${about}`).join('\n')}

--json prints one object or list and nothing else. Money is in whole nano-USD (10^-9 USD).
The gateway is found by FAREGATE_URL, otherwise in the data directory (FAREGATE_DATA_DIR); its key is
FAREGATE_ADMIN_KEY, otherwise the one in the data directory.
`;

/** Where a command reads its environment and writes. */
export interface Terminal {
  readonly env: Readonly<Record<string, string | undefined>>;
  out(text: string): void;
  err(text: string): void;
}

const ownTerminal: Terminal = {
  env: process.env,
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
};

class BadUsage extends Error {}

/** Runs one admin command; the result is the exit code. Throws what the gateway refused, in its words. */
export async function adminCommand(argv: string[], terminal: Terminal = ownTerminal): Promise<number> {
  const command = adminCommands.find(({ words }) => words === argv.slice(0, words.split(' ').length).join(' '));
  if (command === undefined) return overview(argv, terminal);
  try {
    const values = readOptions(command, argv.slice(command.words.split(' ').length));
    if (values === 'help') {
      terminal.out(helpOf(command));
      return 0;
    }
    const answer = await ask(command, values, terminal.env);
    terminal.out(values.json === true ? `${JSON.stringify(answer, null, 2)}\n` : command.show(answer));
    return command.failed?.(answer) === true ? 1 : 0;
  } catch (error) {
    if (!(error instanceof BadUsage)) throw error;
    terminal.err(`faregate admin ${command.words}: ${error.message}\n\n${helpOf(command)}`);
    return 2;
  }
}

function overview(argv: readonly string[], terminal: Terminal): number {
  const [first] = argv;
  if (first === '--help' || first === '-h' || first === 'help') {
    terminal.out(HELP);
    return 0;
  }
  const problem = first === undefined ? '' : `faregate admin: no command "${argv.join(' ')}"\n\n`;
  terminal.err(problem + HELP);
  return 2;
}

function readOptions(command: AdminCommand, args: string[]): Values | 'help' {
  const values = parseOptions(command, args);
  if (values.help === true) return 'help';
  for (const option of command.options) {
    const value = values[option.name];
    if (value === undefined && option.required) throw new BadUsage(`--${option.name} is missing`);
    if (typeof value === 'string' && option.integer && !/^\d+$/.test(value)) {
      throw new BadUsage(`--${option.name} takes a whole number, not "${value}"`);
    }
  }
  return values;
}

function parseOptions(command: AdminCommand, args: string[]): Values {
  const named = command.options.map(({ name }) => [name, { type: 'string' }] as const);
  const flags = { json: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } } as const;
  try {
    return parseArgs({ args, options: { ...Object.fromEntries(named), ...flags } }).values;
  } catch (error) {
    throw new BadUsage(error instanceof Error ? error.message : String(error));
  }
}

function helpOf({ words, about, options }: AdminCommand): string {
  const rows = [
    ...options.map(({ name, about, required }) => [
      `--${name} ${name.toUpperCase()}`,
      about + (required ? '' : ' (optional)'),
    ]),
    ['--json', 'print JSON'],
    ['--help', 'print this'],
  ];
  const width = Math.max(...rows.map(([left = '']) => left.length));
  const lines = rows.map(([left = '', right = '']) => `  ${left.padEnd(width)}  ${right}`);
  return `faregate admin ${words}: ${about}\n\n${lines.join('\n')}\n`;
}

/** The gateway's answer; of a list all of its pages. Throws with the gateway's own message. */
async function ask(command: AdminCommand, values: Values, env: Terminal['env']): Promise<Record<string, unknown>> {
  const config = readConfig(env);
  const base = await gatewayUrl(config);
  const key = await adminKey(config);
  const { method, path, body } = command.request(values);
  const answer = await send(base, key, method, path, body);
  if (answer.object !== 'list' || !Array.isArray(answer.data)) return answer;
  const data: { id?: unknown }[] = [...answer.data];
  for (let more = answer.has_more; more === true; ) {
    const next = await send(base, key, method, `${path}?limit=100&after=${String(data.at(-1)?.id)}`, body);
    data.push(...(Array.isArray(next.data) ? next.data : []));
    more = next.has_more;
  }
  return { object: 'list', data, has_more: false };
}

async function send(
  base: string,
  key: string,
  method: string,
  path: string,
  body: object | undefined,
): Promise<Record<string, unknown>> {
  const response = await fetch(`${base}/admin/v1${path}`, {
    method,
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    signal: AbortSignal.timeout(ANSWER_WAIT_MS),
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  }).catch((error: Error) => {
    throw new Error(`the gateway at ${base} does not answer (${causeOf(error)})`);
  });
  const text = await response.text();
  const answer = parse(text);
  if (response.ok && answer !== null) return answer;
  const { message } = (answer?.error ?? {}) as { message?: unknown };
  throw new Error(typeof message === 'string' ? message : `the gateway answered ${response.status}`);
}

function parse(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}

async function gatewayUrl(config: Config): Promise<string> {
  const url = config.gatewayUrl ?? (await readWhereabouts(config.dataDir))?.url;
  if (url !== undefined) return url.replace(/\/+$/, '');
  throw new Error(`no gateway runs in ${config.dataDir}; start one, or set FAREGATE_URL or FAREGATE_DATA_DIR`);
}

async function adminKey(config: Config): Promise<string> {
  if (config.adminKey !== undefined) return config.adminKey;
  const key = await readAdminKey(config.dataDir);
  if (key !== null) return key;
  throw new Error(`there is no admin key in ${config.dataDir}; set FAREGATE_ADMIN_KEY or FAREGATE_DATA_DIR`);
}

function causeOf(error: Error): string {
  const { cause } = error;
  return cause instanceof Error ? ('code' in cause ? String(cause.code) : cause.message) : error.message;
}
