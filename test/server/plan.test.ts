import { mkdtempSync, rmSync, writeFileSync, mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { EventLog, eventsPath } from "../../src/runs/event-log.ts";
import { startDashboard } from "../../src/server/dashboard.ts";
import { createSimEngine } from "../../src/engine/sim/index.ts";
import { pairTimes } from "../../src/server/plan/pair-times.ts";
import type { MeasuredDispatch } from "../../src/server/plan/pair-times.ts";
import {
  measuredTimeline,
  pairedTable,
  sectionFlow,
  stepTimeline,
} from "../../src/server/plan/pictures.ts";
import { runPlan } from "../../src/server/plan/run-plan.ts";
import type { PlanView, ProgramText } from "../../src/server/plan/views.ts";
import {
  planOf,
  plannedModel,
  readTrainLayer,
  resolveRun,
  trainedModel,
} from "../../src/train/index.ts";

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

  it("is priced as a run of its length is run: a long one joins dispatches, and every dispatch keeps its own price", () => {
    const { view: short } = runPlan(run);
    writeFileSync(
      join(run, "config.yaml"),
      "preset: storyteller\nengine: cpu\nbatch_size: 2\nmax_seq_length: 64\ngradient_accumulation_steps: 3\nmax_steps: 1000000\n",
    );
    const { view: long } = runPlan(run);
    expect(short.asRun).toMatchObject({ isJoined: false, ms: short.predictedMs });
    expect(long.asRun.isJoined).toBe(true);
    expect(long.asRun.ms).toBeLessThan(short.asRun.ms);
    expect(long.asRun.overlappedMs).toBeLessThanOrEqual(long.asRun.ms);
    expect(long.predictedMs).toBe(short.predictedMs);
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

  it("has what an engine measured paired with what is predicted, dispatch by dispatch", async () => {
    const settings = {
      ...{ engine: "sim:m4", family: "llama", layers: 2, hidden_size: 32, heads: 1, kv_heads: 1 },
      ...{ ffn_size: 32, vocab_size: 257, batch_size: 1, max_seq_length: 8 },
      ...{ gradient_accumulation_steps: 2, output_dir: run },
    };
    writeFileSync(
      join(run, "config.yaml"),
      Object.entries(settings)
        .map(([name, value]) => `${name}: ${value}\n`)
        .join(""),
    );
    const { view } = runPlan(run);
    const { config } = resolveRun([readTrainLayer({ origin: "test", values: settings })]);
    const { plan } = planOf(config, trainedModel(config, plannedModel(config)));
    const engine = createSimEngine("m4", { threads: 1 });
    const loaded = await engine.load(plan);
    for (const { name, runs: count } of view.sections) if (count > 0) await loaded.run(name);
    const measured: MeasuredDispatch[] = loaded
      .timings()
      .map(({ elapsedMs, ...timing }) => ({ ...timing, elapsed_ms: elapsedMs }));
    await engine.close();
    const pairs = pairTimes(view, measured);
    const dispatchCount = view.sections
      .filter(({ runs: count }) => count > 0)
      .reduce((sum, { dispatches }) => sum + dispatches.length, 0);
    expect(pairs).toHaveLength(dispatchCount);
    // A simulated engine's clock is the cost model: whatever is paired with another dispatch differs.
    for (const { measuredMs, predictedMs } of pairs) expect(measuredMs).toBeCloseTo(predictedMs, 9);
    expect(view.isRunsOwn).toBe(true);
    const picture = measuredTimeline(view, measured, "sim:m4") ?? "";
    const keys = [...picture.matchAll(/data-key="([^"]+)"/g)].map(([, key]) => key);
    expect(keys).toHaveLength(2 * dispatchCount);
    expect(new Set(keys)).toEqual(
      new Set(pairs.flatMap(({ dispatches }) => dispatches.map(({ program }) => program))),
    );
    expect(pairedTable(view, measured, "sim:m4")?.match(/<tr>/g)).toHaveLength(dispatchCount + 2);
  });

  it("pairs what ran as one with the sum, parts of one with one, and nothing with another plan's", () => {
    const { view } = runPlan(run);
    const section = view.sections.find(({ name }) => name === "forward_backward");
    const [first, second, third] = section?.dispatches ?? [];
    if (!section || !first || !second || !third) throw new Error("no dispatches");
    const of = (label: string, places: readonly number[], ms: number): MeasuredDispatch => ({
      ...{ section: section.name, label, places, runs: 2, elapsed_ms: 2 * ms },
    });
    const measured = [
      of(`${first.label} … ${second.label}`, [0, 1], 5),
      of(`inputs of ${second.label}`, [1], 1),
      of(`${third.label} (host part)`, [2], 2),
      of(third.label, [2], 3),
      of("of another plan", [3], 1000),
      of("beyond", [section.dispatches.length], 1000),
    ];
    const [joined, alone, ...rest] = pairTimes(view, measured);
    expect(joined).toMatchObject({ label: `${first.label} … ${second.label}`, measuredMs: 6 });
    expect(joined?.predictedMs).toBeCloseTo(first.predictedMs + second.predictedMs, 12);
    expect(alone).toMatchObject({ label: third.label, measuredMs: 5, dispatches: [third] });
    expect(rest.every(({ measuredMs }) => measuredMs === undefined)).toBe(true);
    const table = pairedTable(view, measured, "cpu") ?? "";
    expect(table).toContain("<td>6 ms</td>");
    expect(table).toContain("<td>45.5 %</td>");
    expect(pairedTable(view, [{ ...of("old", [], 1), places: undefined }], "cpu")).toBeUndefined();
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
