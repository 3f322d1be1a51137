CREATE FUNCTION "budget_window"("seconds" integer) RETURNS bigint LANGUAGE sql STABLE AS $$
  SELECT coalesce(floor(extract(epoch FROM now()) / "seconds"), 0)::bigint
$$;--> statement-breakpoint
ALTER TABLE "budget" DROP CONSTRAINT "budget_within_limit";--> statement-breakpoint
ALTER TABLE "budget" ADD COLUMN "overrun" bigint DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "budget" ADD COLUMN "window_index" bigint DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "lease" ADD COLUMN "budgets" text[];--> statement-breakpoint
ALTER TABLE "budget" ADD CONSTRAINT "budget_not_negative" CHECK ("budget"."spent" >= 0 and "budget"."leased" >= 0 and "budget"."limit_nanousd" >= 0);--> statement-breakpoint
ALTER TABLE "budget" ADD CONSTRAINT "budget_window_positive" CHECK ("budget"."window_seconds" > 0);--> statement-breakpoint
ALTER TABLE "budget" ADD CONSTRAINT "budget_within_limit" CHECK ("budget"."spent" + "budget"."leased" <= "budget"."limit_nanousd" + "budget"."overrun");--> statement-breakpoint
ALTER TABLE "budget" DROP COLUMN "parent_id";--> statement-breakpoint
-- Whatever changes a budget first in a window begins with nothing spent.
CREATE FUNCTION "roll_budget"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF budget_window(OLD."window_seconds") > OLD."window_index" THEN
    NEW."spent" := NEW."spent" - OLD."spent";
    NEW."overrun" := NEW."overrun" - OLD."overrun";
    NEW."window_index" := budget_window(OLD."window_seconds");
  END IF;
  RETURN NEW;
END $$;--> statement-breakpoint
CREATE TRIGGER "budget_rolls" BEFORE UPDATE ON "budget" FOR EACH ROW EXECUTE FUNCTION "roll_budget"();
