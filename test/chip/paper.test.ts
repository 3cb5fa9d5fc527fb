import { expect, test } from "vitest";
import { chipByName } from "../../src/chip/chips.ts";
import { CLAIMS_NOT_REPEATED, formatPaper, paperRows } from "../../src/measure/published/paper.ts";
import { predictPipeline, STORIES_110M } from "../../src/measure/published/published-pipeline.ts";

test("published results stand beside predictions, each with a source and a note", () => {
  const rows = paperRows();
  expect(rows.length).toBeGreaterThanOrEqual(14);
  const printed = formatPaper(rows).replaceAll(/\s+/g, " ");
  for (const line of formatPaper(rows).split("\n")) {
    // An address is never broken: it would not be found then.
    if (!line.includes("https://")) expect(line.length).toBeLessThanOrEqual(80);
  }
  for (const row of rows) {
    expect(row.source, row.what).not.toBe("");
    expect(printed).toContain(row.note);
  }
  for (const { claim } of CLAIMS_NOT_REPEATED) expect(printed).toContain(claim);
});

test("the published trainers' steps come out within a quarter", () => {
  const byName = new Map(paperRows().map((row) => [row.what, row]));
  for (const name of ["Stories110M training step", "Qwen3-0.6B training step", "peak fp16"]) {
    const row = byName.get(name);
    expect((row?.predicted ?? 0) / (row?.published ?? 1), name).toBeGreaterThan(0.75);
    expect((row?.predicted ?? 0) / (row?.published ?? 1), name).toBeLessThan(1.25);
  }
});

test("a faster chip runs the same pipeline faster", () => {
  const m1 = predictPipeline(STORIES_110M, chipByName("m1"), "dynamic");
  const m4 = predictPipeline(STORIES_110M, chipByName("m4"), "dynamic");
  const m5pro = predictPipeline(STORIES_110M, chipByName("m5-pro"), "dynamic");
  expect(m1.ms).toBeGreaterThan(m4.ms);
  expect(m4.ms).toBeGreaterThan(m5pro.ms);
});
