/** As much of the Postgres protocol as the proxy needs: where messages end, and which of them execute which statement. */

/** What a statement does to money, told by its text. */
export type MoneyStatement = 'settle' | 'grant' | 'return' | 'deposit';

const PARSE = 'P'.charCodeAt(0);
const BIND = 'B'.charCodeAt(0);
/** ReadyForQuery: whatever ran before it is committed or rolled back. */
export const READY = 'Z'.charCodeAt(0);

/** Cuts a stream of bytes into whole messages. The first one of a client has no type byte. */
export class Messages {
  #rest: Buffer = Buffer.alloc(0);
  #typed: boolean;

  constructor(side: 'client' | 'server') {
    this.#typed = side === 'server';
  }

  push(bytes: Buffer): Buffer[] {
    this.#rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    const whole: Buffer[] = [];
    for (;;) {
      const lengthAt = this.#typed ? 1 : 0;
      if (this.#rest.length < lengthAt + 4) return whole;
      const end = lengthAt + this.#rest.readInt32BE(lengthAt);
      if (this.#rest.length < end) return whole;
      whole.push(this.#rest.subarray(0, end));
      this.#rest = this.#rest.subarray(end);
      this.#typed = true;
    }
  }
}

/** Remembers what a client prepared, and tells which money statement a message executes. */
export class Statements {
  readonly #prepared = new Map<string, MoneyStatement | null>();

  executedBy(message: Buffer): MoneyStatement | null {
    if (message[0] === PARSE) {
      const [name, query] = texts(message.subarray(5));
      this.#prepared.set(name, classify(query));
    }
    if (message[0] !== BIND) return null;
    const [, name] = texts(message.subarray(5));
    return this.#prepared.get(name) ?? null;
  }
}

function classify(query: string): MoneyStatement | null {
  if (query.includes('insert into call')) return 'settle';
  if (query.includes("'grant'")) return 'grant';
  if (query.includes("'return'")) return 'return';
  return query.includes("'deposit'") && query.includes('insert into') ? 'deposit' : null;
}

/** The first two texts of a message, each ended by a zero byte. */
function texts(payload: Buffer): [string, string] {
  const first = payload.indexOf(0);
  const second = payload.indexOf(0, first + 1);
  return [payload.toString('utf8', 0, first), payload.toString('utf8', first + 1, second)];
}
