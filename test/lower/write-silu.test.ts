import { expect, test } from "vitest";
import { chipByName } from "../../src/chip/chips.ts";
import { runFunction } from "../../src/engine/run-function.ts";
import { createSimEngine } from "../../src/engine/sim/index.ts";
import { differentiate } from "../../src/grad/differentiate.ts";
import { lowerFunction } from "../../src/lower/lower-function.ts";
import { FunctionBuilder } from "../../src/mil/builder.ts";
import { tensorType } from "../../src/mil/types.ts";

test("silu and its slope are written without tables, and right from where they end to where they are lines", async () => {
  const inputs = Array.from({ length: 512 }, (_, at) => (at - 256) / 8);
  const f = new FunctionBuilder("f");
  const x = f.input("x", tensorType("fp16", [1, inputs.length]));
  const { backward } = differentiate(f.finish({ y: f.op("silu", { x }) }), {
    withRespectTo: ["x"],
    heldInputs: ["x"],
    recompute: "full",
  });
  const { operations } = lowerFunction(backward, chipByName("m4"), "e5rt").function;
  expect(operations.map(({ type }) => type)).not.toContain("sigmoid");
  expect(operations.filter(({ type }) => type === "exp")).toHaveLength(1);
  const engine = createSimEngine("m4", { threads: 1 });
  try {
    const ones = inputs.map(() => 1);
    const given = Object.fromEntries(
      backward.inputs.map(({ name }) => [name, name === "x" ? inputs : ones]),
    );
    const results = await runFunction(engine, backward, given);
    const slopes = results.get("d_x")?.toArray() ?? [];
    const errors = inputs.map((input, at) => {
      const share = 1 / (1 + Math.exp(-input));
      return Math.abs((slopes[at] ?? NaN) - share * (1 + input * (1 - share)));
    });
    expect(errors).toHaveLength(512);
    expect(Math.max(...errors)).toBeLessThan(4e-3);
  } finally {
    await engine.close();
  }
});
