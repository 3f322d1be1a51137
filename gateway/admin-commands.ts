/** The commands of `faregate admin`: for each its options, its HTTP twin and how people read the answer. */
import { renderTable } from './table.ts';

export type Values = Readonly<Record<string, string | boolean | undefined>>;
type Answer = Readonly<Record<string, unknown>>;

interface AdminOption {
  readonly name: string;
  readonly about: string;
  readonly required: boolean;
  /** Whole numbers; money travels as the text that was written, so that no digit is lost. */
  readonly integer: boolean;
}

export interface AdminCommand {
  readonly words: string;
  readonly about: string;
  readonly options: readonly AdminOption[];
  /** `path` is below /admin/v1. */
  request(values: Values): { method: string; path: string; body?: object };
  show(answer: Answer): string;
  /** An answer after which the exit code is 1. */
  failed?(answer: Answer): boolean;
}

export const adminCommands: readonly AdminCommand[] = [
  {
    words: 'account create',
    about: 'create the account of an agent',
    options: [text('name', 'what to call it')],
    request: ({ name }) => ({ method: 'POST', path: '/accounts', body: { name } }),
    show: lines,
  },
  {
    words: 'account credit',
    about: 'book a deposit; the same reference again changes nothing',
    options: [
      text('account', 'acct_…'),
      integer('nanousd', 'how much'),
      text('reference', 'what it is for, once each'),
    ],
    request: ({ account, nanousd, reference }) => ({
      method: 'POST',
      path: `/accounts/${segment(account)}/credits`,
      body: { nanousd, reference },
    }),
    show: lines,
  },
  {
    words: 'refund',
    about: 'give back what a call cost, or a part; the same reference again changes nothing',
    options: [
      text('call', 'the id of the call'),
      integer('nanousd', 'how much'),
      text('reason', 'why'),
      text('reference', 'what it is for, once each'),
    ],
    request: ({ call, nanousd, reason, reference }) => ({
      method: 'POST',
      path: `/calls/${segment(call)}/refunds`,
      body: { nanousd, reason, reference },
    }),
    show: lines,
  },
  {
    words: 'key create',
    about: 'create a key of an agent; it is shown this once',
    options: [
      text('account', 'acct_…'),
      optional(text('name', 'where it is used')),
      optional(integer('budget-nanousd', 'what it, and all keys made of it, may spend')),
      optional(integer('budget-window-seconds', 'per so many seconds; for ever')),
    ],
    request: ({ account, name, 'budget-nanousd': budget, 'budget-window-seconds': seconds }) => ({
      method: 'POST',
      path: `/accounts/${segment(account)}/keys`,
      body: {
        name,
        budget_nanousd: budget,
        ...(seconds === undefined ? {} : { budget_window_seconds: Number(seconds) }),
      },
    }),
    show: lines,
  },
  {
    words: 'key revoke',
    about: 'revoke a key, at once and everywhere',
    options: [text('key', 'key_…')],
    request: ({ key }) => ({ method: 'DELETE', path: `/keys/${segment(key)}` }),
    show: lines,
  },
  {
    words: 'price set',
    about: 'put the next price of a model in force',
    options: [
      text('model', 'as agents ask for it'),
      integer('input', 'per million input tokens'),
      integer('cached-input', 'per million input tokens that were in a prefix cache'),
      integer('output', 'per million output tokens'),
      integer('per-ms', 'per millisecond'),
    ],
    request: ({ model, input, 'cached-input': cachedInput, output, 'per-ms': perMs }) => ({
      method: 'PUT',
      path: `/prices/${segment(model)}`,
      body: { input, cached_input: cachedInput, output, per_ms: perMs },
    }),
    show: lines,
  },
  {
    words: 'operator create',
    about: 'create an operator and its key, which is shown this once',
    options: [
      text('name', 'what to call it'),
      optional(integer('share-ppm', 'its part of each charge in millionths; 900000')),
    ],
    request: ({ name, 'share-ppm': share }) => ({
      method: 'POST',
      path: '/operators',
      body: { name, ...(share === undefined ? {} : { share_ppm: Number(share) }) },
    }),
    show: lines,
  },
  {
    words: 'payout list',
    about: 'the payouts of all operators with their transactions, the newest first',
    options: [],
    request: () => ({ method: 'GET', path: '/payouts' }),
    show: payoutTable,
  },
  {
    words: 'payout',
    about: 'pay operators what they earned, but for what is held back',
    options: [
      optional(text('operator', 'op_…; all with an address and enough to be worth it')),
      optional(text('reference', 'what it is for, once each')),
    ],
    request: ({ operator, reference }) => ({ method: 'POST', path: '/payouts', body: { operator, reference } }),
    show: payoutTable,
  },
  {
    words: 'receipt-key rotate',
    about: 'sign receipts with a new key, a minute from now; older receipts stay verifiable',
    options: [],
    request: () => ({ method: 'POST', path: '/receipt-keys' }),
    show: lines,
  },
  {
    words: 'worker list',
    about: 'every worker with state, models, generations in flight and learned times',
    options: [],
    request: () => ({ method: 'GET', path: '/workers' }),
    show: workerTable,
  },
  {
    words: 'exceptions',
    about: 'calls that could not be posted as they stood, the newest first',
    options: [],
    request: () => ({ method: 'GET', path: '/exceptions?limit=100' }),
    show: exceptionTable,
  },
  {
    words: 'check',
    about: 'whether the books balance; exit 1 when they do not',
    options: [],
    request: () => ({ method: 'GET', path: '/check' }),
    show: verdict,
    failed: ({ balanced }) => balanced !== true,
  },
];

function text(name: string, about: string): AdminOption {
  return { name, about, required: true, integer: false };
}

function integer(name: string, about: string): AdminOption {
  return { name, about, required: true, integer: true };
}

function optional(option: AdminOption): AdminOption {
  return { ...option, required: false };
}

function segment(value: string | boolean | undefined): string {
  return encodeURIComponent(String(value));
}

function lines(answer: Answer): string {
  const width = Math.max(...Object.keys(answer).map((name) => name.length));
  return Object.entries(answer)
    .map(([name, value]) => `${name.padEnd(width)}  ${String(value)}\n`)
    .join('');
}

function workerTable({ data }: Answer): string {
  const workers = (Array.isArray(data) ? data : []) as readonly Answer[];
  if (workers.length === 0) return 'There are no workers yet.\n';
  const rows = workers.map((worker) => ({
    worker: String(worker.id),
    state: String(worker.state),
    models: (worker.models as readonly { id: string }[]).map(({ id }) => id).join(' '),
    place: `${String(worker.country)} ${String(worker.region)}`,
    'in flight': `${String(worker.in_flight)}/${String(worker.slots)}`,
    'rtt ms': String(worker.rtt_ms ?? '–'),
    'first content ms': String(worker.first_content_ms ?? '–'),
    'last error': String(worker.last_error ?? ''),
  }));
  return `${renderTable(rows)}\n`;
}

function exceptionTable({ data }: Answer): string {
  const exceptions = (Array.isArray(data) ? data : []) as readonly Answer[];
  if (exceptions.length === 0) return 'There are none.\n';
  const cells = ({ call, account, reason, charged_nanousd: charged, created_at: at }: Answer) => ({
    call: String(call),
    account: String(account),
    reason: String(reason),
    'charged nano-USD': String(charged),
    at: String(at),
  });
  return `${renderTable(exceptions.map(cells))}\n`;
}

function payoutTable({ data }: Answer): string {
  const payouts = (Array.isArray(data) ? data : []) as readonly Answer[];
  if (payouts.length === 0) return 'There are none.\n';
  const cells = ({ id, account, nanousd, state, transaction, reason }: Answer) => ({
    payout: String(id),
    operator: String(account),
    'nano-USD': String(nanousd),
    state: String(state),
    transaction: String(transaction ?? '–'),
    reason: String(reason ?? ''),
  });
  return `${renderTable(payouts.map(cells))}\n`;
}

function verdict({ balanced, violations }: Answer): string {
  if (balanced === true) return 'The books balance.\n';
  const found = (Array.isArray(violations) ? violations : []) as readonly Answer[];
  return found
    .map(({ check, subject, detail }) => `${String(check)}: ${String(subject)}: ${String(detail)}\n`)
    .join('');
}
