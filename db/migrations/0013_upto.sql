CREATE TABLE "upto_payer" (
	"id" text PRIMARY KEY NOT NULL,
	"account_id" text NOT NULL,
	"credited_nanousd" bigint DEFAULT 0 NOT NULL,
	"spent_nanousd" bigint DEFAULT 0 NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "upto_payer_account_id_unique" UNIQUE("account_id"),
	CONSTRAINT "upto_spent_of_credit" CHECK ("upto_payer"."spent_nanousd" between 0 and "upto_payer"."credited_nanousd")
);
--> statement-breakpoint
CREATE TABLE "upto_payment" (
	"id" uuid PRIMARY KEY NOT NULL,
	"payer_id" text NOT NULL,
	"nonce" text NOT NULL,
	"permit" jsonb NOT NULL,
	"deadline" bigint NOT NULL,
	"max_units" bigint NOT NULL,
	"most_nanousd" bigint NOT NULL,
	"state" text DEFAULT 'open' NOT NULL,
	"charged_nanousd" bigint,
	"charged_units" bigint,
	"transaction" text,
	"open_until" timestamp with time zone NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "upto_nonce_once" UNIQUE("payer_id","nonce"),
	CONSTRAINT "upto_state_known" CHECK ("upto_payment"."state" in ('open', 'due', 'settled', 'burnt', 'lost')),
	CONSTRAINT "upto_charged_when_over" CHECK (("upto_payment"."state" = 'open') = ("upto_payment"."charged_nanousd" is null)),
	CONSTRAINT "upto_within_maximum" CHECK ("upto_payment"."charged_units" <= "upto_payment"."max_units" and "upto_payment"."charged_nanousd" <= "upto_payment"."most_nanousd")
);
--> statement-breakpoint
ALTER TABLE "txn" DROP CONSTRAINT "txn_kind_known";--> statement-breakpoint
ALTER TABLE "upto_payer" ADD CONSTRAINT "upto_payer_account_id_agent_id_fk" FOREIGN KEY ("account_id") REFERENCES "public"."agent"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "upto_payment" ADD CONSTRAINT "upto_payment_payer_id_upto_payer_id_fk" FOREIGN KEY ("payer_id") REFERENCES "public"."upto_payer"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "upto_undecided" ON "upto_payment" USING btree ("payer_id") WHERE "upto_payment"."state" in ('open', 'due');--> statement-breakpoint
CREATE INDEX "upto_lost" ON "upto_payment" USING btree ("payer_id") WHERE "upto_payment"."state" = 'lost';--> statement-breakpoint
ALTER TABLE "txn" ADD CONSTRAINT "txn_kind_known" CHECK ("txn"."kind" in ('deposit', 'unspent', 'credit_lost', 'grant', 'return', 'settle', 'refund', 'withdrawal', 'payout', 'payout_paid', 'payout_returned'));