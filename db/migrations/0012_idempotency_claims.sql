CREATE TABLE "idempotency_claim" (
	"place" text PRIMARY KEY NOT NULL,
	"fingerprint" text NOT NULL,
	"id" uuid NOT NULL,
	"is_call" boolean NOT NULL,
	"instance_id" text NOT NULL,
	"epoch" integer NOT NULL,
	"state" text DEFAULT 'running' NOT NULL,
	"expires_at" timestamp with time zone NOT NULL,
	CONSTRAINT "idempotency_claim_id_unique" UNIQUE("id"),
	CONSTRAINT "idempotency_claim_state_known" CHECK ("idempotency_claim"."state" in ('running', 'ended', 'lost'))
);
--> statement-breakpoint
CREATE INDEX "idempotency_claim_expiry" ON "idempotency_claim" USING btree ("expires_at");--> statement-breakpoint
CREATE INDEX "idempotency_claim_instance" ON "idempotency_claim" USING btree ("instance_id");