import type { Context } from "hono";
import type { Application } from "../application.ts";
import type { RunStore } from "../runs/run-store.ts";
import { Plans } from "./plans.ts";

/** Adds what a page asks of a run's step: the plan for a chip, and its programs as text. */
export function addPlanRoutes(application: Application, store: RunStore): void {
  const plans = new Plans();
  const chipOf = (context: Context): string | undefined => context.req.query("chip");
  application.get("/api/chips", (context) => context.json([...plans.chips]));
  application.get("/api/runs/:id/plan", async (context) =>
    context.json(await plans.view(store.folder(context.req.param("id")), chipOf(context))),
  );
  application.get("/api/runs/:id/programs/:name", async (context) => {
    const folder = store.folder(context.req.param("id"));
    return context.json(await plans.text(folder, chipOf(context), context.req.param("name")));
  });
}
