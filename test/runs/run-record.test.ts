import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { EventLog, eventsPath, readEvents } from "../../src/runs/event-log.ts";
import type { UntimedEvent } from "../../src/runs/events.ts";
import { glimpseRun } from "../../src/runs/run-glimpse.ts";
import { RunRecord } from "../../src/runs/run-record.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "anecdote-record-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const report = (step: number, loss = 1 / step): UntimedEvent => ({
  ...{ kind: "step", step, train_loss: loss, learning_rate: 1e-3, gradient_norm: 1 },
  ...{ tokens_per_second: 100, iterations_per_second: 1, trained_tokens: step * 10 },
  eta_seconds: 1,
});
const evaluation = (step: number): UntimedEvent => ({
  ...{ kind: "eval", step, eval_loss: 2 / step, perplexity: 3, eval_tokens: 5, elapsed_seconds: 1 },
});

function append(events: readonly UntimedEvent[]): void {
  const log = new EventLog(eventsPath(folder));
  for (const event of events) log.append(event);
  log.close();
}

const stepsOf = (record: RunRecord, name = "train_loss"): readonly number[] => {
  const series = record.series(name, "step");
  return series === undefined
    ? []
    : Array.from({ length: series.x.length }, (_, i) => series.x[i] ?? -1);
};

describe("a run's record", () => {
  it("grows with the log, each number over steps, seconds and tokens", async () => {
    const record = new RunRecord(folder);
    await record.refresh();
    expect(record.names).toEqual([]);
    append([report(1), report(2), evaluation(2)]);
    await record.refresh();
    append([report(3)]);
    await record.refresh();
    expect(stepsOf(record)).toEqual([1, 2, 3]);
    expect(record.series("eval_loss", "tokens")).toMatchObject({ x: { 0: 20 }, y: { 0: 1 } });
    expect(record.sequence).toBe(4);
    expect(record.series("loss_scale", "step")).toBeUndefined();
  });

  it("takes back what a resume rewinds, and goes on from there", async () => {
    const record = new RunRecord(folder);
    append([
      report(1),
      report(2),
      { kind: "sample", step: 2, prompt: "", text: "gone" },
      report(3),
    ]);
    await record.refresh();
    append([{ kind: "rewind", step: 1 }, report(2, 7)]);
    await record.refresh();
    expect(stepsOf(record)).toEqual([1, 2]);
    expect(record.series("train_loss", "step")?.y[1]).toBe(7);
    expect(record.events).toEqual([]);
  });

  it("is read anew where the log was written anew, and passes over a line that was cut off", async () => {
    const record = new RunRecord(folder);
    append([report(1), report(2)]);
    await record.refresh();
    rmSync(eventsPath(folder));
    append([report(5)]);
    await record.refresh();
    expect(stepsOf(record)).toEqual([5]);
    appendFileSync(eventsPath(folder), '{"kind":"step","st');
    await record.refresh();
    append([report(6)]);
    await record.refresh();
    expect(stepsOf(record)).toEqual([5, 6]);
  });

  it("tells the same as reading the whole log, whatever rewinds it has", async () => {
    const change = fc.oneof(
      { weight: 5, arbitrary: fc.constant("report" as const) },
      fc.constant("eval" as const),
      fc.nat(40).map((back) => ({ back })),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(change, { maxLength: 80 }), fc.nat(79), async (changes, cut) => {
        writeFileSync(eventsPath(folder), "");
        const record = new RunRecord(folder);
        let step = 0;
        const log = new EventLog(eventsPath(folder));
        for (const [index, one] of changes.entries()) {
          if (one === "report") log.append(report(++step));
          else if (one === "eval") log.append(evaluation(Math.max(1, step)));
          else {
            step = Math.max(0, step - one.back);
            log.append({ kind: "rewind", step, ...(one.back % 3 === 0 && { kept: { eval: 0 } }) });
          }
          if (index === cut) await record.refresh();
        }
        log.close();
        await record.refresh();
        const events = readEvents(eventsPath(folder));
        for (const [name, kind] of [
          ["train_loss", "step"],
          ["eval_loss", "eval"],
        ] as const) {
          const wanted = events.filter((event) => event.kind === kind).map((event) => event.step);
          expect(stepsOf(record, name)).toEqual(wanted);
        }
      }),
      { numRuns: 60 },
    );
  });

  it("counts time of training alone: neither pauses nor the time between two processes", async () => {
    const record = new RunRecord(folder);
    const events = [
      { t: 100, ...START },
      { t: 110, ...report(1) },
      { t: 111, kind: "control", step: 1, command: "pause" },
      { t: 511, kind: "control", step: 1, command: "resume" },
      { t: 520, ...report(2) },
      { t: 9000, kind: "rewind", step: 2 },
      { t: 9000, ...START },
      { t: 9005, ...report(3) },
    ];
    writeFileSync(eventsPath(folder), events.map((event) => `${JSON.stringify(event)}\n`).join(""));
    await record.refresh();
    expect([...Array(3).keys()].map((i) => record.series("train_loss", "seconds")?.x[i])).toEqual([
      10, 20, 25,
    ]);
  });
});

const START = {
  ...{ kind: "start", version: 2, step: 0, max_steps: 100, run: "r", engine: "cpu", device: "d" },
  ...{
    runtime: "r",
    threads: 1,
    parameters: 1,
    tokens_per_step: 1,
    train_tokens: 1,
    eval_tokens: 1,
  },
  plan_bytes: 1,
};

describe("a glimpse of a run", () => {
  it("tells all of a short one", () => {
    append([report(1), evaluation(1), report(2)]);
    const glimpse = glimpseRun(folder, 10);
    expect(glimpse.isWhole).toBe(true);
    expect(glimpse.reports.map(({ step }) => step)).toEqual([1, 2]);
    expect(glimpse.lastEvaluation?.step).toBe(1);
  });

  it("meets a long one at as many places as are asked for, and its last report", () => {
    const lines = Array.from({ length: 20_000 }, (_, index) =>
      JSON.stringify({ sequence: index + 1, t: index, ...report(index + 1) }),
    );
    writeFileSync(eventsPath(folder), `${lines.join("\n")}\n`);
    const glimpse = glimpseRun(folder, 50);
    expect(glimpse.isWhole).toBe(false);
    expect(glimpse.lastReport?.step).toBe(20_000);
    const steps = glimpse.reports.map(({ step }) => step);
    expect(steps.length).toBeGreaterThan(50);
    expect(steps.length).toBeLessThan(1500);
    const gaps = steps.map((step, index) => step - (steps[index - 1] ?? 0));
    expect(Math.max(...gaps)).toBeLessThan(600);
    expect(steps).toEqual([...steps].sort((a, b) => a - b));
  });

  it("of no log is empty", () => {
    expect(glimpseRun(folder, 5)).toMatchObject({ isWhole: true, reports: [] });
  });
});
