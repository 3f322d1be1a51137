import { BlockPool } from './blocks.ts';
import type { LiveCall } from './call.ts';
import { type Clock, realClock } from './clock.ts';
import { Engine } from './engine.ts';
import { backlogFull, engineDead, queueFull, shuttingDown } from './failure.ts';
import { FaultRules } from './faults.ts';
import type { Settings } from './options.ts';
import { type Random, randomHex, seededRandom } from './random.ts';
import { Statistics } from './statistics.ts';
import type { Tokenizer } from './tokenizer.ts';

/** `drains`: no new calls. `dead`: the engine is gone and the front stays. */
type State = 'serves' | 'drains' | 'dead';

/** The simulated server apart from HTTP: model, engine, counters and what is wrong with them. */
export class Machine {
  readonly settings: Settings;
  readonly tokenizer: Tokenizer;
  readonly clock: Clock = realClock;
  readonly random: Random;
  readonly pool: BlockPool;
  readonly engine: Engine;
  readonly faults = new FaultRules();
  readonly statistics: Statistics;
  readonly calls = new Set<LiveCall>();
  state: State = 'serves';

  constructor(settings: Settings, tokenizer: Tokenizer) {
    this.settings = settings;
    this.tokenizer = tokenizer;
    this.random = seededRandom(settings.seed);
    this.pool = new BlockPool(settings.kvBlocks, settings.blockSize);
    this.statistics = new Statistics(settings.contextLength);
    this.engine = new Engine(settings, settings.slots, this.pool, this.clock, {
      byPriority: settings.priorityScheduling,
      onStep: (tokens) => this.statistics.stepped(tokens),
    });
  }

  /** A new random id, as vLLM writes them. */
  newId(): string {
    return randomHex(this.random, 16);
  }

  /** Refuses a call of that many prompt tokens when the engine is gone, stopping or full. */
  admit(promptTokens: number): void {
    const { maxQueued, maxQueuedTokens } = this.settings;
    if (this.state === 'dead') {
      throw engineDead();
    }
    if (this.state === 'drains') {
      throw shuttingDown();
    }
    if (maxQueued !== undefined && this.engine.runningCount + this.engine.waitingCount >= maxQueued) {
      this.statistics.rejected('max_num_queued_reqs');
      throw queueFull();
    }
    if (maxQueuedTokens !== undefined && this.engine.backlogTokens + promptTokens > maxQueuedTokens) {
      this.statistics.rejected('max_num_queued_tokens');
      throw backlogFull();
    }
  }

  /** The engine's process died: every call fails, and so do all new ones. */
  killEngine(): void {
    this.state = 'dead';
    for (const call of [...this.calls]) {
      call.fail(engineDead());
    }
  }

  /** Every call ends as on SIGTERM: with `abort`, or with silence. */
  endCalls(how: 'abort' | 'silent'): void {
    for (const call of [...this.calls]) {
      if (how === 'abort') {
        call.abort();
      } else {
        call.mute();
      }
    }
  }
}
