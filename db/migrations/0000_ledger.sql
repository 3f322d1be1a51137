CREATE TABLE "account" (
	"id" text PRIMARY KEY NOT NULL,
	"kind" text NOT NULL,
	"owner" text,
	"balance" bigint DEFAULT 0 NOT NULL,
	"floor" bigint DEFAULT 0 NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "account_balance_at_or_above_floor" CHECK ("account"."balance" >= "account"."floor"),
	CONSTRAINT "account_kind_known" CHECK ("account"."kind" in ('world', 'prepaid', 'escrow', 'earnings', 'revenue', 'payout_pending', 'shortfall', 'fees'))
);
--> statement-breakpoint
CREATE TABLE "agent" (
	"id" text PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "api_key" (
	"id" text PRIMARY KEY NOT NULL,
	"hash" text NOT NULL,
	"hint" text NOT NULL,
	"kind" text NOT NULL,
	"owner_id" text NOT NULL,
	"name" text,
	"requests_per_minute" integer,
	"tokens_per_minute" integer,
	"open_streams" integer,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"revoked_at" timestamp with time zone,
	CONSTRAINT "api_key_hash_unique" UNIQUE("hash"),
	CONSTRAINT "api_key_kind_known" CHECK ("api_key"."kind" in ('live', 'test', 'operator'))
);
--> statement-breakpoint
CREATE TABLE "budget" (
	"id" text PRIMARY KEY NOT NULL,
	"parent_id" text,
	"window_seconds" integer,
	"limit_nanousd" bigint NOT NULL,
	"spent" bigint DEFAULT 0 NOT NULL,
	"leased" bigint DEFAULT 0 NOT NULL,
	CONSTRAINT "budget_within_limit" CHECK ("budget"."spent" + "budget"."leased" <= "budget"."limit_nanousd")
);
--> statement-breakpoint
CREATE TABLE "call" (
	"id" uuid PRIMARY KEY NOT NULL,
	"account_id" text NOT NULL,
	"key_id" text NOT NULL,
	"lease_id" text NOT NULL,
	"endpoint" text NOT NULL,
	"model" text NOT NULL,
	"worker_id" text,
	"operator_id" text,
	"region" text,
	"outcome" text NOT NULL,
	"streamed" boolean NOT NULL,
	"attempts" integer NOT NULL,
	"prompt_tokens" integer NOT NULL,
	"cached_tokens" integer NOT NULL,
	"completion_tokens" integer NOT NULL,
	"held_nanousd" bigint NOT NULL,
	"charged_nanousd" bigint NOT NULL,
	"operator_nanousd" bigint NOT NULL,
	"price_version" integer NOT NULL,
	"queue_ms" integer,
	"ttft_ms" integer,
	"billed_ms" integer NOT NULL,
	"total_ms" integer NOT NULL,
	CONSTRAINT "call_charged_within_held" CHECK ("call"."charged_nanousd" between 0 and "call"."held_nanousd"),
	CONSTRAINT "call_share_within_charge" CHECK ("call"."operator_nanousd" between 0 and "call"."charged_nanousd"),
	CONSTRAINT "call_outcome_known" CHECK ("call"."outcome" in ('complete', 'aborted', 'failed'))
) PARTITION BY RANGE ("id");
--> statement-breakpoint
CREATE TABLE "entry" (
	"txn_id" uuid NOT NULL,
	"account_id" text NOT NULL,
	"amount" bigint NOT NULL,
	CONSTRAINT "entry_txn_id_account_id_pk" PRIMARY KEY("txn_id","account_id"),
	CONSTRAINT "entry_amount_not_zero" CHECK ("entry"."amount" <> 0)
);
--> statement-breakpoint
CREATE TABLE "instance" (
	"id" text PRIMARY KEY NOT NULL,
	"epoch" integer NOT NULL,
	"started_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "lease" (
	"id" text PRIMARY KEY NOT NULL,
	"instance_id" text NOT NULL,
	"epoch" integer NOT NULL,
	"account_id" text NOT NULL,
	"granted" bigint NOT NULL,
	"state" text DEFAULT 'open' NOT NULL,
	"expires_at" timestamp with time zone NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "lease_state_known" CHECK ("lease"."state" in ('open', 'closed'))
);
--> statement-breakpoint
CREATE TABLE "model" (
	"id" text PRIMARY KEY NOT NULL,
	"price_version" integer NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "operator" (
	"id" text PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"share_ppm" integer NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "operator_share_within_whole" CHECK ("operator"."share_ppm" between 0 and 1000000)
);
--> statement-breakpoint
CREATE TABLE "price_version" (
	"version" integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "price_version_version_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 2147483647 START WITH 1 CACHE 1),
	"model" text NOT NULL,
	"input" bigint NOT NULL,
	"cached_input" bigint NOT NULL,
	"output" bigint NOT NULL,
	"per_ms" bigint NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "price_not_negative" CHECK ("price_version"."input" >= 0 and "price_version"."cached_input" >= 0 and "price_version"."output" >= 0 and "price_version"."per_ms" >= 0 and "price_version"."cached_input" <= "price_version"."input")
);
--> statement-breakpoint
CREATE TABLE "secret" (
	"name" text PRIMARY KEY NOT NULL,
	"value" text NOT NULL
);
--> statement-breakpoint
CREATE TABLE "settle_exception" (
	"call_id" uuid PRIMARY KEY NOT NULL,
	"reason" text NOT NULL,
	"record" jsonb NOT NULL,
	"at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "signing_key" (
	"kid" text PRIMARY KEY NOT NULL,
	"private_jwk" jsonb NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "txn" (
	"id" uuid PRIMARY KEY NOT NULL,
	"kind" text NOT NULL,
	"ref" text,
	"at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "txn_ref_once" UNIQUE("kind","ref"),
	CONSTRAINT "txn_kind_known" CHECK ("txn"."kind" in ('deposit', 'grant', 'return', 'settle', 'refund', 'payout'))
);
--> statement-breakpoint
CREATE TABLE "worker" (
	"id" text PRIMARY KEY NOT NULL,
	"operator" text NOT NULL,
	"url" text NOT NULL,
	"engine_key" text,
	"models" jsonb NOT NULL,
	"country" text NOT NULL,
	"region" text NOT NULL,
	"slots" integer NOT NULL,
	"state" text NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"removed_at" timestamp with time zone,
	CONSTRAINT "worker_slots_positive" CHECK ("worker"."slots" > 0),
	CONSTRAINT "worker_state_known" CHECK ("worker"."state" in ('verifying', 'probation', 'active', 'degraded', 'quarantined', 'draining'))
);
--> statement-breakpoint
ALTER TABLE "agent" ADD CONSTRAINT "agent_id_account_id_fk" FOREIGN KEY ("id") REFERENCES "public"."account"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "entry" ADD CONSTRAINT "entry_txn_id_txn_id_fk" FOREIGN KEY ("txn_id") REFERENCES "public"."txn"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "entry" ADD CONSTRAINT "entry_account_id_account_id_fk" FOREIGN KEY ("account_id") REFERENCES "public"."account"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "lease" ADD CONSTRAINT "lease_instance_id_instance_id_fk" FOREIGN KEY ("instance_id") REFERENCES "public"."instance"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "model" ADD CONSTRAINT "model_price_version_price_version_version_fk" FOREIGN KEY ("price_version") REFERENCES "public"."price_version"("version") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "operator" ADD CONSTRAINT "operator_id_account_id_fk" FOREIGN KEY ("id") REFERENCES "public"."account"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "worker" ADD CONSTRAINT "worker_operator_operator_id_fk" FOREIGN KEY ("operator") REFERENCES "public"."operator"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "account_owner" ON "account" USING btree ("owner");--> statement-breakpoint
CREATE INDEX "api_key_owner" ON "api_key" USING btree ("owner_id");--> statement-breakpoint
CREATE INDEX "call_account" ON "call" USING btree ("account_id","id");--> statement-breakpoint
CREATE INDEX "entry_account" ON "entry" USING btree ("account_id");--> statement-breakpoint
CREATE INDEX "lease_open_of_instance" ON "lease" USING btree ("instance_id") WHERE "lease"."state" = 'open';--> statement-breakpoint
CREATE INDEX "lease_open_of_account" ON "lease" USING btree ("account_id") WHERE "lease"."state" = 'open';--> statement-breakpoint
CREATE INDEX "worker_operator" ON "worker" USING btree ("operator");--> statement-breakpoint
-- Months are cut ahead by db/partitions.ts; a call outside of all of them still has a place.
CREATE TABLE "call_default" PARTITION OF "call" DEFAULT;--> statement-breakpoint
-- Money records are never changed: a correction is a new txn.
CREATE FUNCTION "refuse_change"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;--> statement-breakpoint
CREATE TRIGGER "txn_append_only" BEFORE UPDATE OR DELETE OR TRUNCATE ON "txn" EXECUTE FUNCTION "refuse_change"();--> statement-breakpoint
CREATE TRIGGER "entry_append_only" BEFORE UPDATE OR DELETE OR TRUNCATE ON "entry" EXECUTE FUNCTION "refuse_change"();--> statement-breakpoint
-- Every deposit comes out of the world, which alone may be negative.
INSERT INTO "account" ("id", "kind", "floor") VALUES ('world', 'world', -9223372036854775808);--> statement-breakpoint
INSERT INTO "account" ("id", "kind") VALUES ('revenue', 'revenue'), ('fees', 'fees'), ('payout_pending', 'payout_pending');--> statement-breakpoint
INSERT INTO "account" ("id", "kind", "floor") VALUES ('shortfall', 'shortfall', -9223372036854775808);
