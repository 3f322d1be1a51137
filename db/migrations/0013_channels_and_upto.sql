CREATE TABLE "channel" (
	"id" text PRIMARY KEY NOT NULL,
	"network" text NOT NULL,
	"payer" text NOT NULL,
	"config" jsonb NOT NULL,
	"account_id" text NOT NULL,
	"balance_units" bigint NOT NULL,
	"claimed_units" bigint NOT NULL,
	"refund_nonce" bigint NOT NULL,
	"withdraw_requested_at" bigint NOT NULL,
	"synced_at" timestamp with time zone DEFAULT now() NOT NULL,
	"signed_units" bigint DEFAULT 0 NOT NULL,
	"signature" text,
	"announced_units" bigint NOT NULL,
	"opened_nanousd" bigint NOT NULL,
	"credited_nanousd" bigint NOT NULL,
	"spent_nanousd" bigint NOT NULL,
	"request_id" uuid,
	"request_until" timestamp with time zone,
	"request_announced_units" bigint,
	"claim_id" uuid,
	"claiming_units" bigint,
	"claimed_at" timestamp with time zone DEFAULT now() NOT NULL,
	"version" integer DEFAULT 0 NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "channel_account_id_unique" UNIQUE("account_id"),
	CONSTRAINT "channel_signed" CHECK ("channel"."signed_units" = 0 or "channel"."signature" is not null),
	CONSTRAINT "channel_spent_of_credit" CHECK ("channel"."spent_nanousd" between 0 and "channel"."credited_nanousd"),
	CONSTRAINT "channel_request_whole" CHECK (("channel"."request_id" is null) = ("channel"."request_until" is null) and ("channel"."request_id" is null) = ("channel"."request_announced_units" is null)),
	CONSTRAINT "channel_claim_whole" CHECK (("channel"."claim_id" is null) = ("channel"."claiming_units" is null))
);
--> statement-breakpoint
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
ALTER TABLE "channel" ADD CONSTRAINT "channel_account_id_agent_id_fk" FOREIGN KEY ("account_id") REFERENCES "public"."agent"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "upto_payer" ADD CONSTRAINT "upto_payer_account_id_agent_id_fk" FOREIGN KEY ("account_id") REFERENCES "public"."agent"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "upto_payment" ADD CONSTRAINT "upto_payment_payer_id_upto_payer_id_fk" FOREIGN KEY ("payer_id") REFERENCES "public"."upto_payer"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "channel_payer" ON "channel" USING btree ("payer");--> statement-breakpoint
CREATE INDEX "channel_claiming" ON "channel" USING btree ("claim_id") WHERE "channel"."claim_id" is not null;--> statement-breakpoint
CREATE INDEX "channel_unclaimed" ON "channel" USING btree ("claimed_at") WHERE "channel"."claim_id" is null;--> statement-breakpoint
CREATE INDEX "upto_undecided" ON "upto_payment" USING btree ("payer_id") WHERE "upto_payment"."state" in ('open', 'due');--> statement-breakpoint
CREATE INDEX "upto_lost" ON "upto_payment" USING btree ("payer_id") WHERE "upto_payment"."state" = 'lost';--> statement-breakpoint
ALTER TABLE "txn" ADD CONSTRAINT "txn_kind_known" CHECK ("txn"."kind" in ('deposit', 'unspent', 'credit_lost', 'grant', 'return', 'settle', 'refund', 'withdrawal', 'payout', 'payout_paid', 'payout_returned'));