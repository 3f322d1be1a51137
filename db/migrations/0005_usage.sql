CREATE TABLE "usage_minute" (
	"account_id" text NOT NULL,
	"minute" timestamp with time zone NOT NULL,
	"model" text NOT NULL,
	"calls" bigint NOT NULL,
	"prompt_tokens" bigint NOT NULL,
	"cached_tokens" bigint NOT NULL,
	"completion_tokens" bigint NOT NULL,
	"billed_ms" bigint NOT NULL,
	"charged_nanousd" bigint NOT NULL,
	CONSTRAINT "usage_minute_account_id_minute_model_pk" PRIMARY KEY("account_id","minute","model")
);
--> statement-breakpoint
INSERT INTO "usage_minute"
SELECT "account_id", date_trunc('minute', "settled_at"), "model", count(*), sum("prompt_tokens"), sum("cached_tokens"), sum("completion_tokens"), sum("billed_ms"), sum("charged_nanousd")
FROM "call" GROUP BY 1, 2, 3;
