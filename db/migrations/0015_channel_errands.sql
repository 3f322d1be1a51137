CREATE TABLE "channel_errand" (
	"id" uuid PRIMARY KEY NOT NULL,
	"authorizer" text NOT NULL,
	"sent" jsonb NOT NULL,
	"taken_at" timestamp with time zone,
	"answer" jsonb,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "channel_errand_answered_by_taker" CHECK ("channel_errand"."answer" is null or "channel_errand"."taken_at" is not null)
);
--> statement-breakpoint
ALTER TABLE "upto_payer" ADD COLUMN "settled" bigint DEFAULT 0 NOT NULL;--> statement-breakpoint
CREATE INDEX "channel_errand_open" ON "channel_errand" USING btree ("authorizer","id") WHERE "channel_errand"."taken_at" is null;--> statement-breakpoint
CREATE INDEX "channel_errand_age" ON "channel_errand" USING btree ("created_at");