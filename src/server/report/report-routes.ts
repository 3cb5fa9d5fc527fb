import { compiledUrl } from "../../util/source-layout.ts";
import { requireChip } from "../plan/plans.ts";
import { aside } from "../aside.ts";
import type { Application } from "../application.ts";
import type { RunStore } from "../runs/run-store.ts";

/** Adds a run's report as a file to keep: the one that `anecdote report` writes. */
export function addReportRoutes(application: Application, store: RunStore): void {
  application.get("/api/runs/:id/report", async (context) => {
    const id = context.req.param("id");
    const folder = store.folder(id);
    const chip = context.req.query("chip");
    if (chip !== undefined) requireChip(chip);
    const html = await aside<string>(compiledUrl("server/report/report-worker.ts"), {
      folder,
      ...(chip !== undefined && { chip }),
    });
    return context.body(html, 200, {
      "Content-Type": "text/html; charset=utf-8",
      "Content-Disposition": `attachment; filename="${fileName(id)}.html"`,
      "Cache-Control": "no-store",
    });
  });
}

/** A run's name without what a header or a file system takes otherwise. */
function fileName(id: string): string {
  const name = id.replaceAll(/[^\w.-]+/g, "-").slice(0, 100);
  return name === "" ? "run" : name;
}
