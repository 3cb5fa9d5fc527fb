import { describe, expect, it } from "vitest";
import { createEngine } from "../../src/engine/create.ts";
import { FunctionBuilder } from "../../src/mil/builder.ts";
import { tensorType } from "../../src/mil/types.ts";
import { PlanBuilder } from "../../src/plan/builder.ts";
import { planMemory } from "../../src/plan/memory.ts";
import type { Plan } from "../../src/plan/plan.ts";

/** Two sections of eight steps over buffers of different sizes, each needed by the next step alone. */
function pipelines(): Plan {
  const plan = new PlanBuilder("pipelines");
  const rows = [64, 32, 96, 64, 128, 32, 64];
  plan.buffer("in", tensorType("fp32", [64, 64]), "input");
  plan.buffer("out", tensorType("fp32", [64, 64]), "state");
  for (const section of ["first", "second"]) {
    let source = "in";
    let height = 64;
    const path = section === "first" ? rows : rows.slice(2);
    for (const [index, next] of [...path, 64].entries()) {
      const program = `${section} ${index}`;
      const f = new FunctionBuilder(program);
      const x = f.input("x", tensorType("fp32", [height, 64]));
      const weight = f.input("weight", tensorType("fp32", [next, height]));
      plan.program(program, f.finish({ y: f.op("matmul", { x: weight, y: x }) }));
      const target = index === path.length ? "out" : `${section} ${index}`;
      if (target !== "out") plan.buffer(target, tensorType("fp32", [next, 64]), "activation");
      const held = `weight of ${section} ${index}`;
      plan.buffer(held, tensorType("fp32", [next, height]), "weight");
      plan.dispatch(section, target, program, { x: source, weight: held }, { y: target });
      [source, height] = [target, next];
    }
  }
  return plan.finish();
}

describe("a plan's memory", () => {
  it("is what it says on every engine", async () => {
    const plan = pipelines();
    const memory = planMemory(plan);
    expect(memory.transientByteLength).toBeGreaterThan(0);
    for (const name of ["reference", "cpu", "sim:m4"]) {
      const engine = await createEngine(name);
      try {
        const loaded = await engine.load(plan);
        const { persistentBytes, transientBytes } = loaded.memory();
        expect([name, persistentBytes, transientBytes]).toEqual([
          name,
          memory.persistentByteLength,
          memory.transientByteLength,
        ]);
        await loaded.run("first");
        await loaded.run("second");
      } finally {
        await engine.close();
      }
    }
  });
});
