CREATE TABLE "chain_transaction" (
	"id" uuid PRIMARY KEY NOT NULL,
	"purpose" text NOT NULL,
	"signer_id" text NOT NULL,
	"nonce" bigint NOT NULL,
	"to" text NOT NULL,
	"data" text NOT NULL,
	"gas" bigint NOT NULL,
	"max_fee_per_gas" bigint,
	"priority_fee_per_gas" bigint,
	"raw" text,
	"hash" text,
	"replacements" integer DEFAULT 0 NOT NULL,
	"state" text DEFAULT 'pending' NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"sent_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "chain_transaction_purpose_unique" UNIQUE("purpose"),
	CONSTRAINT "chain_transaction_nonce_once" UNIQUE("signer_id","nonce"),
	CONSTRAINT "chain_transaction_state_known" CHECK ("chain_transaction"."state" in ('pending', 'mined'))
);
--> statement-breakpoint
CREATE TABLE "payment" (
	"id" text PRIMARY KEY NOT NULL,
	"method" text NOT NULL,
	"network" text NOT NULL,
	"asset" text NOT NULL,
	"payer" text NOT NULL,
	"payee" text NOT NULL,
	"nonce" text NOT NULL,
	"signature" text NOT NULL,
	"value" bigint NOT NULL,
	"nanousd" bigint NOT NULL,
	"valid_after" bigint NOT NULL,
	"valid_before" bigint NOT NULL,
	"since_block" bigint,
	"state" text DEFAULT 'reserved' NOT NULL,
	"account_id" text,
	"transaction" text,
	"reason" text,
	"claimed_at" timestamp with time zone,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	"changed_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "payment_state_known" CHECK ("payment"."state" in ('reserved', 'settling', 'settled', 'failed', 'unknown')),
	CONSTRAINT "payment_amount_positive" CHECK ("payment"."value" > 0 and "payment"."nanousd" > 0),
	CONSTRAINT "payment_settled_whole" CHECK ("payment"."state" <> 'settled' or ("payment"."account_id" is not null and "payment"."transaction" is not null))
);
--> statement-breakpoint
CREATE TABLE "signer" (
	"id" text PRIMARY KEY NOT NULL,
	"next_nonce" bigint NOT NULL
);
--> statement-breakpoint
CREATE TABLE "used_nonce" (
	"nonce" text PRIMARY KEY NOT NULL,
	"ends_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "wallet" (
	"id" text PRIMARY KEY NOT NULL,
	"account_id" text NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "wallet_account_id_unique" UNIQUE("account_id")
);
--> statement-breakpoint
ALTER TABLE "chain_transaction" ADD CONSTRAINT "chain_transaction_signer_id_signer_id_fk" FOREIGN KEY ("signer_id") REFERENCES "public"."signer"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "wallet" ADD CONSTRAINT "wallet_account_id_agent_id_fk" FOREIGN KEY ("account_id") REFERENCES "public"."agent"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "chain_transaction_pending" ON "chain_transaction" USING btree ("signer_id","nonce") WHERE "chain_transaction"."state" = 'pending';--> statement-breakpoint
CREATE UNIQUE INDEX "payment_authorization_once" ON "payment" USING btree ("network","asset","payer","nonce") WHERE "payment"."state" in ('settling', 'unknown', 'settled');--> statement-breakpoint
CREATE INDEX "payment_open" ON "payment" USING btree ("changed_at") WHERE "payment"."state" in ('reserved', 'settling', 'unknown');--> statement-breakpoint
CREATE INDEX "used_nonce_end" ON "used_nonce" USING btree ("ends_at");