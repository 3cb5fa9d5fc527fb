import { mkdtempSync, rmSync, writeFileSync, mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { EventLog, eventsPath } from "../../src/runs/event-log.ts";
import { startDashboard } from "../../src/server/dashboard.ts";
import { measuredTimeline, sectionFlow, stepTimeline } from "../../src/server/plan/pictures.ts";
import { runPlan } from "../../src/server/plan/run-plan.ts";
import type { PlanView, ProgramText } from "../../src/server/plan/views.ts";

let runs: string;
let run: string;
beforeEach(() => {
  runs = mkdtempSync(join(tmpdir(), "anecdote-plan-"));
  run = join(runs, "small");
  mkdirSync(run);
  writeFileSync(
    join(run, "config.yaml"),
    "preset: storyteller\nengine: cpu\nbatch_size: 2\nmax_seq_length: 64\ngradient_accumulation_steps: 3\n",
  );
  const log = new EventLog(eventsPath(run));
  log.append({ kind: "notice", step: 0, message: "begun" });
  log.close();
});
afterEach(() => rmSync(runs, { recursive: true, force: true }));

describe("a run's step", () => {
  it("has dispatches whose predicted times add up to the step's", () => {
    const { view } = runPlan(run);
    const sum = view.sections.reduce(
      (total, { runs: count, predictedMs }) => total + count * predictedMs,
      0,
    );
    expect(sum).toBeCloseTo(view.predictedMs, 9);
    expect(view.predictedMs).toBeGreaterThan(0);
    const counts = Object.fromEntries(view.sections.map(({ name, runs: count }) => [name, count]));
    expect(counts).toMatchObject({
      forward_backward: 1,
      forward_backward_accumulate: 2,
      update: 1,
      evaluate: 0,
    });
    expect(view).toMatchObject({ chip: "M4", isRunsOwn: false, engine: "cpu" });
  });

  it("says of each program where it runs and why, with the rule", () => {
    const { view, texts } = runPlan(run);
    const byName = new Map(view.programs.map((program) => [program.name, program]));
    expect(byName.get("block_forward")).toMatchObject({ place: "engine", reason: null });
    expect(byName.get("adamw_block")).toMatchObject({ place: "host", reason: "host kernel adamw" });
    const embed = byName.get("embed_forward");
    expect(embed?.place).toBe("host");
    expect(embed?.reason).toContain("gather");
    expect(embed?.rules.map(({ rule }) => rule)).toContain("unsupported-op");
    expect(texts.get("block_forward")?.engine).toContain("program(");
    expect(texts.get("adamw_block")?.engine).toBeNull();
  });

  it("is drawn as lanes and as boxes, each part findable by its program", () => {
    const { view } = runPlan(run);
    expect(stepTimeline(view)).toContain('data-key="block_backward"');
    const dispatches = [
      { section: "forward_backward", label: "all <of it>", runs: 4, elapsed_ms: 40 },
      { section: "evaluate", label: "no update", runs: 1, elapsed_ms: 1 },
    ];
    const measured = measuredTimeline(view, dispatches, "cpu") ?? "";
    expect(measured).toContain("all &lt;of it&gt;: 10.0 ms measured");
    expect(measured).not.toContain("no update");
    expect(measuredTimeline(view, [], "cpu")).toBeUndefined();
    const [section] = view.sections;
    if (section === undefined) throw new Error("no section");
    const flow = sectionFlow(view, section);
    expect(flow.match(/<g data-key/g)).toHaveLength(section.dispatches.length);
    expect(flow).toContain("kept for the backward pass");
  });

  it("is made for a chip that a request names, aside from the server's thread", async () => {
    const dashboard = await startDashboard({ runsFolder: runs, port: 0 });
    try {
      const ask = async (path: string): Promise<Response> => fetch(dashboard.url + path);
      const view = (await (await ask("/api/runs/small/plan?chip=m1")).json()) as PlanView;
      expect(view.chip).toBe("M1");
      const text = (await (
        await ask("/api/runs/small/programs/block_forward?chip=m1")
      ).json()) as ProgramText;
      expect(text.engine).toContain("fp16");
      expect((await ask("/api/runs/small/programs/none")).status).toBe(404);
      const unknown = await ask("/api/runs/small/plan?chip=m44");
      expect([unknown.status, await unknown.text()]).toEqual([400, expect.stringContaining("m4")]);
      rmSync(join(run, "config.yaml"));
      expect((await ask("/api/runs/small/plan")).status).toBe(422);
    } finally {
      await dashboard.close();
    }
  });
});
