import { defineConfig } from 'vitest/config';

export default defineConfig(({ mode }) => ({
  test: {
    include: ['{gateway,router,workers,payments,db,bench}/**/*.test.ts'],
    // Needs a real vLLM: `npm run test:vllm`.
    exclude: mode === 'vllm' ? [] : ['gateway/e2e/vllm.test.ts'],
    testTimeout: 30_000,
    hookTimeout: 120_000,
    // Most tests wait for Postgres, sockets or a chain: one worker would leave two cores idle half of the time.
    maxWorkers: 2,
    globalSetup: ['db/testing-server.ts'],
  },
}));
