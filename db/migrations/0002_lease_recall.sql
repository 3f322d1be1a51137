ALTER TABLE "lease" ADD COLUMN "recalled" integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "lease" ADD COLUMN "answered" integer DEFAULT 0 NOT NULL;--> statement-breakpoint
CREATE INDEX "lease_open_by_expiry" ON "lease" USING btree ("expires_at") WHERE "lease"."state" = 'open';--> statement-breakpoint
-- From now on "granted" tells what was granted less what came back.
UPDATE "lease" l SET "granted" = l."granted" + r."amount"
FROM (SELECT e."account_id", sum(e."amount")::bigint AS "amount" FROM "entry" e JOIN "txn" t ON t."id" = e."txn_id" AND t."kind" = 'return' GROUP BY e."account_id") r
WHERE r."account_id" = l."id";
