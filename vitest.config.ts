import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['{gateway,router,workers,payments,db,bench}/**/*.test.ts'],
    testTimeout: 30_000,
    hookTimeout: 120_000,
    globalSetup: ['db/testing-server.ts'],
  },
});
