import { defineConfig } from 'drizzle-kit';

export default defineConfig({
  dialect: 'postgresql',
  schema: [
    './db/schema.ts',
    './db/schema-calls.ts',
    './db/schema-channels.ts',
    './db/schema-keys.ts',
    './db/schema-claims.ts',
    './db/schema-payments.ts',
    './db/schema-payouts.ts',
    './db/schema-upto.ts',
  ],
  out: './db/migrations',
});
