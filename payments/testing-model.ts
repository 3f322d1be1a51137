/** The ledger as it should be, in memory and without time: model.test.ts plays the same on this and on the real one. */
import { least, type Nanousd } from './money.ts';

export interface ModelCall {
  readonly agent: number;
  readonly instance: number;
  /** The budgets that bind it. */
  readonly line: readonly string[];
  readonly amount: Nanousd;
  readonly expiresAtMs: number;
  /** What the last journaled record says; null before the first, when the call would leave no trace. */
  recorded: Nanousd | null;
  /** Null while it is open. */
  charged: Nanousd | null;
  refunded: Nanousd;
}

export class LedgerModel {
  readonly expiryMs: number;
  nowMs = 0;
  readonly deposited: Nanousd[];
  readonly #references = new Map<string, Nanousd>();
  /** By the real call's id; calls that left no trace are forgotten. */
  readonly calls = new Map<string, ModelCall>();
  /** What each budget allows in all. */
  readonly limits = new Map<string, Nanousd>();

  constructor(size: { agents: number; expiryMs: number }) {
    this.deposited = Array.from({ length: size.agents }, () => 0n);
    this.expiryMs = size.expiryMs;
  }

  /** False when the reference came before with another amount. */
  topUp(agent: number, amount: Nanousd, reference: string): boolean {
    const known = this.#references.get(`${agent} ${reference}`);
    if (known !== undefined) return known === amount;
    this.#references.set(`${agent} ${reference}`, amount);
    this.deposited[agent] = (this.deposited[agent] ?? 0n) + amount;
    return true;
  }

  /** The most that a hold can have now: of the agent's money and of each budget, less what is charged and what calls hold. */
  available(agent: number, line: readonly string[] = []): Nanousd {
    const calls = [...this.calls.values()];
    const used = (own: readonly ModelCall[]) => own.reduce((sum, call) => sum + (call.charged ?? call.amount), 0n);
    const left = line.map((id) => (this.limits.get(id) ?? 0n) - used(calls.filter((call) => call.line.includes(id))));
    return left.reduce(least, (this.deposited[agent] ?? 0n) - used(calls.filter((call) => call.agent === agent)));
  }

  reserve(id: string, call: Pick<ModelCall, 'agent' | 'instance' | 'line' | 'amount'>): void {
    const expiresAtMs = this.nowMs + this.expiryMs;
    this.calls.set(id, { ...call, expiresAtMs, recorded: null, charged: null, refunded: 0n });
  }

  /** False when all refunds would exceed the charge. */
  refund(call: ModelCall, amount: Nanousd): boolean {
    if (call.refunded + amount > (call.charged ?? 0n)) return false;
    call.refunded += amount;
    this.deposited[call.agent] = (this.deposited[call.agent] ?? 0n) + amount;
    return true;
  }

  open(call: ModelCall): void {
    if (call.charged === null) call.recorded = 0n;
  }

  progress(call: ModelCall, cost: Nanousd): void {
    if (call.charged === null) call.recorded = least(cost, call.amount);
  }

  /** What comes after the first end changes nothing. */
  close(call: ModelCall, cost: Nanousd): void {
    call.charged ??= least(cost, call.amount);
  }

  void(id: string, call: ModelCall): void {
    if (call.charged !== null) return;
    if (call.recorded === null) this.calls.delete(id);
    else call.charged = 0n;
  }

  /** Time passes: what is due is charged at its last record. */
  tick(ms: number, lives: (instance: number) => boolean): void {
    this.nowMs += ms;
    this.#endAll(({ instance, expiresAtMs }) => lives(instance) && expiresAtMs <= this.nowMs);
  }

  /** An instance ends, in whichever way: what it had open is charged at its last record. */
  end(instance: number): void {
    this.#endAll((call) => call.instance === instance);
  }

  #endAll(ends: (call: ModelCall) => boolean): void {
    for (const [id, call] of this.calls) {
      if (call.charged !== null || !ends(call)) continue;
      if (call.recorded === null) this.calls.delete(id);
      else call.charged = call.recorded;
    }
  }
}
