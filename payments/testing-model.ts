/**
 * The ledger as it should be, in memory and without time: agents with money, instances that live and die, calls that are
 * charged once. model.test.ts plays the same commands on this and on the real ledger.
 */
import { least, type Nanousd } from './money.ts';

export interface ModelCall {
  readonly agent: number;
  readonly instance: number;
  readonly amount: Nanousd;
  readonly expiresAtMs: number;
  /** What the last journaled record says; null before the first, when the call would leave no trace. */
  recorded: Nanousd | null;
  /** Null while it is open. */
  charged: Nanousd | null;
}

export class LedgerModel {
  readonly expiryMs: number;
  nowMs = 0;
  readonly deposited: Nanousd[];
  readonly #references = new Map<string, Nanousd>();
  /** By the real call's id; calls that left no trace are forgotten. */
  readonly calls = new Map<string, ModelCall>();

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

  /** The most that a hold can have now: what was deposited, less what is charged, less what other calls hold. */
  available(agent: number): Nanousd {
    let available = this.deposited[agent] ?? 0n;
    for (const call of this.calls.values()) if (call.agent === agent) available -= call.charged ?? call.amount;
    return available;
  }

  reserve(id: string, call: { agent: number; instance: number; amount: Nanousd }): void {
    this.calls.set(id, { ...call, expiresAtMs: this.nowMs + this.expiryMs, recorded: null, charged: null });
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
