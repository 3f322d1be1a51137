/**
 * The database of the simulation: what the statements of lease-statements.ts and posting.ts do, on maps, each whole or not at all. Any
 * of them may fail before it, or be committed with its answer lost. That the statements do this is tested on Postgres elsewhere.
 */

import type { Holder } from '../../payments/lease-statements.ts';
import { least, type Nanousd } from '../../payments/money.ts';
import type { GrantSize } from '../../payments/purse.ts';
import { columnsOf } from '../../payments/record.ts';
import type { Random } from '../../workers/simulator/random.ts';

interface Lease {
  readonly instanceId: string;
  readonly epoch: number;
  readonly accountId: string;
  isOpen: boolean;
}

interface Charge {
  readonly id: string;
  readonly account_id: string;
  readonly lease_id: string;
  readonly charged_nanousd: string;
  readonly held_nanousd: string;
}

/** Which life of the gateway asks. */
export interface Client {
  dead: boolean;
}

export class SimulatedDatabase {
  readonly balances = new Map<string, Nanousd>([['shortfall', 0n]]);
  /** What each settled call was charged. */
  readonly calls = new Map<string, Nanousd>();
  readonly exceptions = new Set<string>();
  readonly violations: string[] = [];
  readonly #leases = new Map<string, Lease>();
  readonly #epochs = new Map<string, number>();
  readonly #txns = new Set<string>();
  readonly #random: Random;
  /** Of all statements, the share that meets a fault. */
  faultShare = 0;
  away = false;

  constructor(random: Random) {
    this.#random = random;
  }

  /** Runs a statement as a client sees it. */
  async run<T>(client: Client, statement: () => T): Promise<T> {
    await new Promise((resolve) => setImmediate(resolve));
    if (client.dead || this.away) throw failure('08006');
    const fault = this.#random() < this.faultShare ? this.#random() : 1;
    if (fault < 0.5) throw failure('57P01');
    const result = statement();
    this.#check();
    if (fault < 1 || client.dead) throw failure('08006');
    return result;
  }

  nextEpoch(instanceId: string): number {
    const epoch = (this.#epochs.get(instanceId) ?? 0) + 1;
    this.#epochs.set(instanceId, epoch);
    return epoch;
  }

  grant(holder: Holder, { leaseId, accountId }: { leaseId: string; accountId: string }, asked: GrantSize, txn: string) {
    const current = this.#epochs.get(holder.instanceId) === holder.epoch;
    const lease = this.#leases.get(leaseId);
    const open = current && lease?.isOpen !== false;
    const balance = this.#balance(accountId);
    if (open && !this.#txns.has(txn) && balance >= asked.least) {
      const beyond = balance - asked.need > asked.extra ? asked.extra : 0n;
      const amount = least(balance, asked.need + beyond);
      this.#leases.set(leaseId, lease ?? { ...holder, accountId, isOpen: true });
      if (amount > 0n) this.#move(txn, accountId, leaseId, amount);
    }
    return {
      current,
      open,
      granted: this.#balance(leaseId) + this.#spent(leaseId),
      left: this.#balance(accountId),
      budget: null,
    };
  }

  giveBack(holder: Holder, leaseId: string, back: { txnId: string; amount: Nanousd }) {
    const lease = this.#leases.get(leaseId);
    if (lease?.isOpen !== true) return { closed: true };
    if (lease.epoch !== holder.epoch) return { closed: false };
    if (back.amount > 0n && !this.#txns.has(back.txnId)) this.#move(back.txnId, leaseId, lease.accountId, back.amount);
    if (this.#balance(leaseId) === 0n) lease.isOpen = false;
    return { closed: !lease.isOpen };
  }

  renew(holder: Holder, leases: readonly string[]) {
    const mine = leases.filter((id) => this.#leases.get(id)?.isOpen && this.#leases.get(id)?.epoch === holder.epoch);
    return mine.map((id) => ({ id, recalled: false }));
  }

  /** Closes leases and returns what is in them: of epochs before this one, or, when their time is over, all. */
  returnLeases(beforeEpoch = Infinity): void {
    for (const [id, lease] of this.#leases) {
      if (!lease.isOpen || lease.epoch >= beforeEpoch) continue;
      lease.isOpen = false;
      this.#move(`return ${id}`, id, lease.accountId, this.#balance(id));
    }
  }

  postCalls(list: string): void {
    const records = (JSON.parse(list) as unknown[]).map((record) => JSON.stringify(record));
    const fresh = records.map(chargeOf).filter(({ id }) => !this.calls.has(id));
    const due = new Map<string, Nanousd>();
    for (const { lease_id: lease, charged_nanousd: charged } of new Map(fresh.map((call) => [call.id, call])).values())
      due.set(lease, (due.get(lease) ?? 0n) + BigInt(charged));
    for (const [lease, amount] of due) if (this.#balance(lease) < amount) throw failure('23514');
    for (const call of fresh) this.#charge(call);
  }

  postShortCall(text: string): void {
    const call = chargeOf(text);
    if (this.calls.has(call.id)) return;
    const short = BigInt(call.charged_nanousd) - this.#balance(call.lease_id);
    if (short > 0n) {
      const own = least(short, this.#balance(call.account_id));
      this.#move(`fill ${call.id}`, call.account_id, call.lease_id, own);
      this.#move(`cover ${call.id}`, 'shortfall', call.lease_id, short - own);
      this.exceptions.add(call.id);
    }
    this.#charge(call);
  }

  deposit(accountId: string, amount: Nanousd): void {
    this.#add('world', -amount);
    this.#add(accountId, amount);
  }

  /** What other gateways charge meanwhile. */
  spendElsewhere(accountId: string): void {
    this.#move(`elsewhere ${this.#txns.size}`, accountId, 'elsewhere', this.#balance(accountId));
  }

  #charge(call: Charge): void {
    if (this.calls.has(call.id)) return;
    const charged = BigInt(call.charged_nanousd);
    if (charged > BigInt(call.held_nanousd)) this.violations.push(`${call.id} is charged above its hold`);
    this.calls.set(call.id, charged);
    this.#move(`settle ${call.id}`, call.lease_id, `revenue of ${call.lease_id}`, charged);
  }

  #spent(leaseId: string): Nanousd {
    return this.#balance(`revenue of ${leaseId}`);
  }

  #move(txn: string, from: string, to: string, amount: Nanousd): void {
    this.#txns.add(txn);
    this.#add(from, -amount);
    this.#add(to, amount);
  }

  #balance(id: string): Nanousd {
    return this.balances.get(id) ?? 0n;
  }

  #add(id: string, amount: Nanousd): void {
    this.balances.set(id, this.#balance(id) + amount);
  }

  #check(): void {
    let total = 0n;
    for (const [id, balance] of this.balances) {
      total += balance;
      if (balance < 0n && id !== 'world' && id !== 'shortfall') this.violations.push(`${id} has ${balance}`);
    }
    if (total !== 0n) this.violations.push(`there are ${total} too much`);
  }
}

function chargeOf(text: string): Charge {
  return columnsOf(text) as object as Charge;
}

/** As Postgres says it. */
function failure(code: string): Error {
  const constraint = code === '23514' ? { constraint_name: 'account_balance_at_or_above_floor' } : {};
  return Object.assign(new Error(`simulated ${code}`), { code, ...constraint });
}
