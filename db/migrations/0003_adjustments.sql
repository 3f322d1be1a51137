CREATE TABLE "refund" (
	"txn_id" uuid PRIMARY KEY NOT NULL,
	"call_id" uuid NOT NULL,
	"nanousd" bigint NOT NULL,
	"operator_nanousd" bigint NOT NULL,
	"reason" text NOT NULL,
	"reference" text NOT NULL,
	CONSTRAINT "refund_reference_once" UNIQUE("call_id","reference"),
	CONSTRAINT "refund_share_within_refund" CHECK ("refund"."nanousd" > 0 and "refund"."operator_nanousd" between 0 and "refund"."nanousd")
);
--> statement-breakpoint
ALTER TABLE "api_key" ADD COLUMN "parent_id" text;--> statement-breakpoint
ALTER TABLE "api_key" ADD COLUMN "expires_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "call" ADD COLUMN "settled_at" timestamp with time zone DEFAULT now() NOT NULL;--> statement-breakpoint
ALTER TABLE "refund" ADD CONSTRAINT "refund_txn_id_txn_id_fk" FOREIGN KEY ("txn_id") REFERENCES "public"."txn"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "api_key" ADD CONSTRAINT "api_key_parent_id_api_key_id_fk" FOREIGN KEY ("parent_id") REFERENCES "public"."api_key"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "api_key_parent" ON "api_key" USING btree ("parent_id") WHERE "api_key"."parent_id" is not null;--> statement-breakpoint
CREATE TRIGGER "refund_append_only" BEFORE UPDATE OR DELETE OR TRUNCATE ON "refund" EXECUTE FUNCTION "refuse_change"();--> statement-breakpoint
-- When older calls were settled is not known any more; the time in their ids is when they began.
UPDATE "call" SET "settled_at" = to_timestamp(('x0000' || left(replace("id"::text, '-', ''), 12))::bit(64)::bigint / 1000.0);
