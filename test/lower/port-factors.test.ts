import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { chipByName } from "../../src/chip/chips.ts";
import { createAneEngine } from "../../src/engine/ane/index.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { createSimEngine } from "../../src/engine/sim/index.ts";
import { placePlan } from "../../src/lower/place-plan.ts";
import { FunctionBuilder } from "../../src/mil/builder.ts";
import { tensorType } from "../../src/mil/types.ts";
import { verifyFunction } from "../../src/mil/verify.ts";
import { PlanBuilder } from "../../src/plan/builder.ts";
import type { Plan } from "../../src/plan/plan.ts";
import { openDouble } from "../engine/ane/double-library.ts";

const cacheFolder = mkdtempSync(join(tmpdir(), "anecdote-factors-"));
afterAll(() => rmSync(cacheFolder, { recursive: true, force: true }));

const M4 = chipByName("m4");
const [ROWS, INNER, COLUMNS] = [32, 64, 48];

/** x^T y of small numbers: twice for the host, added the second time, and once for another program. */
function planOf(): Plan {
  const builder = new PlanBuilder("factors");
  builder.buffer("x", tensorType("fp32", [INNER, ROWS]), "weight", "", 2 ** -9);
  builder.buffer("y", tensorType("fp32", [INNER, COLUMNS]), "weight", "", 2 ** -8);
  builder.buffer("kept", tensorType("fp32", [ROWS, COLUMNS]), "gradient");
  builder.buffer("passing", tensorType("fp32", [ROWS, COLUMNS]), "activation");
  builder.buffer("read", tensorType("fp32", [ROWS, COLUMNS]), "output");
  for (const name of ["for_host", "for_engine"]) {
    const f = new FunctionBuilder(name);
    const x = f.input("x", tensorType("fp32", [INNER, ROWS]));
    const y = f.input("y", tensorType("fp32", [INNER, COLUMNS]));
    builder.program(name, f.finish({ z: f.op("matmul", { x, y, transpose_x: true }) }));
  }
  const f = new FunctionBuilder("read");
  const x = f.input("x", tensorType("fp32", [ROWS, COLUMNS]));
  builder.program("read", f.finish({ z: f.op("add", { x, y: x }) }));
  const inputs = { x: "x", y: "y" };
  for (const mode of ["write", "accumulate"] as const)
    builder.dispatch("all", mode, "for_host", inputs, { z: { buffer: "kept", mode } });
  builder.dispatch("all", "passed on", "for_engine", inputs, { z: "passing" });
  builder.dispatch("all", "read", "read", { x: "passing" }, { z: "read" });
  return builder.finish();
}

async function results(engine: Engine, expectedRuns = {}): Promise<readonly number[][]> {
  const loaded = await engine.load(planOf(), { expectedRuns });
  const fill = (name: string, size: number): void => {
    const view = loaded.view(name);
    for (let i = 0; i < view.length; i++) view[i] = Math.fround(size * Math.sin(i * 1.7));
  };
  fill("x", 2 ** -9);
  fill("y", 2 ** -8);
  await loaded.run("all");
  await loaded.run("all");
  const found = ["kept", "read"].map((name) => [...loaded.view(name)]);
  await loaded.close();
  return found;
}

describe("powers of two at ports", () => {
  test("are the host's where results are its own, and stay in programs whose results the engine reads", () => {
    const placed = placePlan(planOf(), M4, "e5rt");
    const of = (name: string) => {
      const found = placed.get(name);
      if (found?.place !== "engine") throw new Error(name);
      verifyFunction(found.program.function);
      const count = found.program.function.operations.filter(({ type }) => type === "mul").length;
      const [{ conversion } = { conversion: undefined }] = found.program.outputs;
      return { count, factor: conversion?.kind === "write" ? conversion.factor : undefined };
    };
    const [host, engine] = [of("for_host"), of("for_engine")];
    expect(host.factor).toBeLessThan(1);
    expect(engine.factor).toBeUndefined();
    expect(host.count).toBe(engine.count - 1);
  });

  test("give exact products of the engine's halves, through both doubles and joined as on the simulator", async () => {
    const sim = createSimEngine("m4", { threads: 1, driver: "e5rt" });
    const wanted = await results(sim);
    const [kept = [], read = []] = wanted;
    for (const [index, value] of kept.entries())
      // The program for the engine rounds the product to fp16 once more, among its smallest numbers.
      expect(Math.abs(value - (read[index] ?? Number.NaN))).toBeLessThanOrEqual(2 ** -23);
    expect(kept.some((value, index) => value !== read[index])).toBe(true);
    expect(await results(sim, { all: { count: 1e9 } })).toEqual(wanted);
    const doubles = { e5rt: openDouble("e5rt"), "in-memory": openDouble("objc") };
    for (const driver of ["e5rt", "in-memory"] as const) {
      const { path: library } = doubles[driver];
      const common = { library, driver, chip: "m4", host: sim, cacheFolder };
      const engine = await createAneEngine(common);
      expect(await results(engine)).toEqual(wanted);
      if (driver === "e5rt") expect(await results(engine, { all: { count: 1e9 } })).toEqual(wanted);
      await engine.close();
      expect(doubles[driver].violations()).toEqual({ count: 0, first: "" });
    }
    await sim.close();
  });
});
