CREATE TABLE "payout" (
	"id" text PRIMARY KEY NOT NULL,
	"account_id" text NOT NULL,
	"reference" text NOT NULL,
	"network" text NOT NULL,
	"asset" text NOT NULL,
	"payer" text NOT NULL,
	"payee" text NOT NULL,
	"nanousd" bigint NOT NULL,
	"valid_before" bigint NOT NULL,
	"state" text DEFAULT 'pending' NOT NULL,
	"since_block" bigint,
	"batch_id" uuid,
	"batched_at" timestamp with time zone,
	"attempts" integer DEFAULT 0 NOT NULL,
	"transaction" text,
	"reason" text,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"settled_at" timestamp with time zone,
	CONSTRAINT "payout_reference_once" UNIQUE("account_id","reference"),
	CONSTRAINT "payout_state_known" CHECK ("payout"."state" in ('pending', 'paid', 'returned')),
	CONSTRAINT "payout_whole_units" CHECK ("payout"."nanousd" > 0 and "payout"."nanousd" % 1000 = 0),
	CONSTRAINT "payout_paid_by_transaction" CHECK (("payout"."state" = 'paid') = ("payout"."transaction" is not null))
);
--> statement-breakpoint
ALTER TABLE "txn" DROP CONSTRAINT "txn_kind_known";--> statement-breakpoint
DROP INDEX "entry_account";--> statement-breakpoint
ALTER TABLE "operator" ADD COLUMN "payout_address" text;--> statement-breakpoint
ALTER TABLE "payout" ADD CONSTRAINT "payout_account_id_account_id_fk" FOREIGN KEY ("account_id") REFERENCES "public"."account"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "payout_account" ON "payout" USING btree ("account_id","id");--> statement-breakpoint
CREATE INDEX "payout_pending" ON "payout" USING btree ("id") WHERE "payout"."state" = 'pending';--> statement-breakpoint
CREATE INDEX "call_settled" ON "call" USING brin ("settled_at");--> statement-breakpoint
CREATE INDEX "entry_account" ON "entry" USING btree ("account_id","txn_id");--> statement-breakpoint
ALTER TABLE "txn" ADD CONSTRAINT "txn_kind_known" CHECK ("txn"."kind" in ('deposit', 'grant', 'return', 'settle', 'refund', 'withdrawal', 'payout', 'payout_paid', 'payout_returned'));