import { afterAll, beforeAll, describe, vi } from 'vitest';
import { stderrProgress } from '../../workers/progress.ts';
import { startVllm, type Vllm } from '../../workers/vllm/server.ts';
import { startTestGateway, type TestGateway } from '../testing.ts';
import { clientSuite } from './client-suite.ts';
import type { ClientTarget } from './client-target.ts';
import { differentialSuite } from './differential.ts';
import { gatewayTarget } from './gateway-target.ts';

const START_MS = 900_000; // the first start installs
const CALL_MS = 120_000; // a busy machine makes a few tokens a second
const CONTEXT_LENGTH = 1_024;
const SLOTS = 4;
/** Whatever a recorded call asks for, it must not be the money that decides. */
const RICH_NANOUSD = 10n ** 18n;

vi.setConfig({ testTimeout: CALL_MS });

/** `npm run test:vllm`: everything through the gateway against a real vLLM, and the vLLM alone. Not part of `npm test`. */
describe.runIf(process.env.MODE === 'vllm')('a real vLLM', () => {
  let engine: Vllm;
  let embeddingEngine: Vllm;
  let gateway: TestGateway;
  let target: ClientTarget;

  beforeAll(async () => {
    engine = await startVllm({ progress: stderrProgress() });
    embeddingEngine = await startVllm({ embedding: true, progress: stderrProgress() });
    const worker = ({ url, apiKey, model }: Vllm) => ({
      url,
      engineKey: apiKey,
      models: [{ id: model, context_length: CONTEXT_LENGTH }],
      slots: SLOTS,
    });
    const workers = [worker(engine), worker(embeddingEngine)];
    gateway = await startTestGateway({ simulators: [], workers, balanceNanousd: RICH_NANOUSD });
    target = await gatewayTarget(gateway, {
      model: engine.model,
      embeddingModel: embeddingEngine.model,
      contextLength: CONTEXT_LENGTH,
      engines: [engine.url, embeddingEngine.url],
    });
  }, START_MS);

  afterAll(async () => {
    await gateway?.stop();
    await Promise.all([engine?.close(), embeddingEngine?.close()]);
  });

  describe('alone', () => {
    clientSuite('engine', () => ({
      ...target,
      baseURL: `${engine.url}/v1`,
      apiKey: engine.apiKey,
      embedding: { model: embeddingEngine.model, baseURL: `${embeddingEngine.url}/v1`, apiKey: embeddingEngine.apiKey },
    }));
  });

  describe('through the gateway', () => {
    clientSuite('gateway', () => target);
  });

  differentialSuite(() => ({ engine, embeddingEngine, gateway }));
});
