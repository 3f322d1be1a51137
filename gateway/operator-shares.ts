import type { Sql } from '../db/connect.ts';

interface Share {
  readonly id: string;
  readonly sharePpm: number;
}

/** What each operator earns of a charge, in millionths. A share never changes, so what was read once stays true. */
export class OperatorShares {
  readonly #sql: Sql;
  readonly #sharesPpm = new Map<string, number>();

  constructor(sql: Sql) {
    this.#sql = sql;
  }

  /** Reads all there are, so that calls to known operators go on while the database is away. */
  async load(): Promise<void> {
    const shares = await this.#sql<Share[]>`select id, share_ppm as "sharePpm" from operator`;
    for (const { id, sharePpm } of shares) this.#sharesPpm.set(id, sharePpm);
  }

  /** A promise only for an operator that was never met. */
  of(operatorId: string): number | Promise<number> {
    return this.#sharesPpm.get(operatorId) ?? this.#read(operatorId);
  }

  async #read(operatorId: string): Promise<number> {
    const [share] = await this.#sql<Share[]>`
      select id, share_ppm as "sharePpm" from operator where id = ${operatorId}`;
    if (share === undefined) throw new Error(`no operator ${operatorId}`);
    this.#sharesPpm.set(operatorId, share.sharePpm);
    return share.sharePpm;
  }
}
