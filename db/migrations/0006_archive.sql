CREATE TABLE "archived_month" (
	"month" text PRIMARY KEY NOT NULL,
	"ids_before" uuid NOT NULL,
	"calls" bigint NOT NULL,
	"settled_until" timestamp with time zone,
	"sha256" text NOT NULL,
	"at" timestamp with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "archived_sum" (
	"month" text NOT NULL,
	"account_id" text NOT NULL,
	"nanousd" bigint NOT NULL,
	CONSTRAINT "archived_sum_month_account_id_pk" PRIMARY KEY("month","account_id")
);
--> statement-breakpoint
ALTER TABLE "archived_sum" ADD CONSTRAINT "archived_sum_month_archived_month_month_fk" FOREIGN KEY ("month") REFERENCES "public"."archived_month"("month") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "archived_sum_account" ON "archived_sum" USING btree ("account_id");