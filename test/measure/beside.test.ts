import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { besideText, runBench, writeBeside } from "../../src/measure/engine-bench/index.ts";
import type { EngineReport } from "../../src/measure/engine-bench/index.ts";
import { run } from "../cli/in-process.ts";

const CASE = "latency.relu-1x64";

function benchOn(engine: string): Promise<EngineReport> {
  return runBench({
    engine,
    only: [CASE],
    isQuick: true,
    budgetMs: 1,
    resume: false,
    overwrite: false,
    isCancelled: () => false,
    onProgress: () => undefined,
    onResult: () => undefined,
  });
}

/** The first case as if it had taken so long and, where a meter read it, so much power. */
function withFirst(report: EngineReport, ms: number, watts?: number): EngineReport {
  const [first, ...rest] = report.cases;
  if (first?.timing === undefined) throw new Error("nothing was measured");
  const timing = { ...first.timing, median_ms: ms };
  return {
    ...report,
    cases: [
      { ...first, flops: 4e9, timing, ...(watts !== undefined && { power_watts: watts }) },
      ...rest,
    ],
  };
}

describe("engines side by side", () => {
  let cpu: EngineReport;
  let reference: EngineReport;
  beforeAll(async () => {
    cpu = withFirst(await benchOn("cpu"), 2);
    reference = withFirst(await benchOn("reference"), 8, 10);
  });

  it("tell time, rate, rate a watt where a meter read it, and the ratio to the first", () => {
    const text = besideText([cpu, reference]);
    expect(text).toMatch(/cpu +2 ms, 2 TFLOP\/s\n/);
    expect(text).toMatch(/reference +8 ms, 0\.5 TFLOP\/s, 0\.05 TFLOP\/s a watt \(0\.25 x\)/);
  });

  it("say of an engine without a rail why there is no rate a watt", () => {
    expect(besideText([cpu, reference])).toContain("Power of reference was not read: ");
  });

  it("say what became of a case that was not measured", () => {
    const [first, ...rest] = reference.cases;
    const failed = {
      ...reference,
      cases: first === undefined ? [] : [{ ...first, status: "failed" as const }, ...rest],
    };
    expect(besideText([cpu, failed])).toMatch(/reference +failed/);
  });

  it("stand on one page", () => {
    const folder = mkdtempSync(join(tmpdir(), "anecdote-beside-"));
    try {
      writeBeside(folder, [cpu, reference]);
      const page = readFileSync(join(folder, "beside.html"), "utf8");
      expect(page).toContain("Engines side by side: cpu, reference");
      expect(page).toContain("8 ms, 0.5 TFLOP/s, 0.05 TFLOP/s a watt (0.25 x)");
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

describe("bench engine --beside", () => {
  it.each([
    ["gpx", /not "gpx". Did you mean "gpu"/],
    ["sim:m4", /not "sim:m4"/],
    ["cpu,cpu", /"cpu" stands beside itself/],
  ])("refuses %s", async (names, message) => {
    const { code, stderr } = await run("bench", "engine", "--beside", names);
    expect(code).toBe(2);
    expect(stderr).toMatch(message);
  });
});
