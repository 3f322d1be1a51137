import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { testDatabase } from '../db/testing.ts';
import { createAgent, deposit } from './ledger.ts';
import { testDirectory } from './testing.ts';
import { AGENTS, compareAtEnd, ledgerCommands, NODES, type Real } from './testing-commands.ts';
import { LedgerModel } from './testing-model.ts';
import { LedgerNode } from './testing-node.ts';

const RUNS = parseInt(process.env.FAREGATE_MODEL_RUNS ?? '40', 10);
const COMMANDS = parseInt(process.env.FAREGATE_MODEL_COMMANDS ?? '50', 10);
/** Looking for the smallest case that fails plays whole lives hundreds of times: only on request. */
const SHRINK = process.env.FAREGATE_MODEL_SHRINK === '1';
const LIMIT_MS = SHRINK || RUNS > 40 ? 4 * 3_600_000 : 240_000;
const HOLD_EXPIRY_MS = 1_000;
const FIRST_NANOUSD = 2_000n;

test(
  'whatever is paid, held, used, refunded, killed, cut off and started again, the ledger says what a model of 100 lines says',
  async () => {
    await using database = await testDatabase();
    await using directory = await testDirectory();
    let runs = 0;
    const begin = async (): Promise<{ model: LedgerModel; real: Real }> => {
      runs += 1;
      const home = join(directory.path, `run-${runs}`);
      const clock = { nowMs: 0 };
      const names = Array.from({ length: AGENTS }, (_, index) => `agent ${index}`);
      const agents = await Promise.all(names.map(async (name) => (await createAgent(database.sql, { name })).id));
      const nodes = Array.from(
        { length: NODES },
        (_, index) =>
          new LedgerNode({
            sql: database.sql,
            home: join(home, `node-${index}`),
            now: () => clock.nowMs,
            holdExpiryMs: HOLD_EXPIRY_MS,
          }),
      );
      await Promise.all(nodes.map((node) => node.start()));
      const model = new LedgerModel({ agents: AGENTS, expiryMs: HOLD_EXPIRY_MS });
      for (const [agent, accountId] of agents.entries()) {
        await deposit(database.sql, { accountId, amount: FIRST_NANOUSD, reference: 'first' });
        model.topUp(agent, FIRST_NANOUSD, 'first');
      }
      return { model, real: { sql: database.sql, agents, nodes, holds: new Map(), clock, keys: [] } };
    };
    await fc.assert(
      fc.asyncProperty(fc.commands(ledgerCommands(), { maxCommands: COMMANDS, size: 'max' }), async (commands) => {
        const { model, real } = await begin();
        await fc.asyncModelRun(() => ({ model, real }), commands);
        await compareAtEnd(model, real);
      }),
      { numRuns: RUNS, endOnFailure: !SHRINK, includeErrorInReport: true },
    );
    expect(runs).toBeGreaterThanOrEqual(RUNS);
  },
  LIMIT_MS,
);
