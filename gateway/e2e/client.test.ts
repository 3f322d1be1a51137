import { afterAll, beforeAll } from 'vitest';
import { CONTEXT_LENGTH, startTestGateway, type TestGateway } from '../testing.ts';
import { clientSuite } from './client-suite.ts';
import type { ClientTarget } from './client-target.ts';
import { gatewayTarget } from './gateway-target.ts';

const EMBEDDING_MODEL = 'tiny-embed';

let gateway: TestGateway;
let target: ClientTarget;

beforeAll(async () => {
  gateway = await startTestGateway({ simulators: [{ slots: 4 }, { model: EMBEDDING_MODEL, embeddings: true }] });
  target = await gatewayTarget(gateway, {
    model: 'tiny',
    embeddingModel: EMBEDDING_MODEL,
    contextLength: CONTEXT_LENGTH,
    engines: gateway.simulators.map(({ url }) => url),
  });
});

afterAll(() => gateway.stop());

clientSuite('gateway', () => target);
