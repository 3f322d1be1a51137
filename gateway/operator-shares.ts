import { eq } from 'drizzle-orm';
import type { Database } from '../db/connect.ts';
import { operator } from '../db/schema.ts';

/** What each operator earns of a charge, in millionths. A share never changes, so what was read once stays true. */
export class OperatorShares {
  readonly #database: Database;
  readonly #sharesPpm = new Map<string, number>();

  constructor(database: Database) {
    this.#database = database;
  }

  /** Reads all there are, so that calls to known operators go on while the database is away. */
  async load(): Promise<void> {
    for (const { id, sharePpm } of await this.#database.orm.select().from(operator)) this.#sharesPpm.set(id, sharePpm);
  }

  async of(operatorId: string): Promise<number> {
    const known = this.#sharesPpm.get(operatorId);
    if (known !== undefined) return known;
    const rows = await this.#database.orm.select().from(operator).where(eq(operator.id, operatorId));
    const sharePpm = rows[0]?.sharePpm;
    if (sharePpm === undefined) throw new Error(`no operator ${operatorId}`);
    this.#sharesPpm.set(operatorId, sharePpm);
    return sharePpm;
  }
}
