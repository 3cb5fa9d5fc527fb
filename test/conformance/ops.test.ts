import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { OpName } from "../../src/mil/ops/index.ts";
import { createCpuEngine } from "../../src/engine/cpu/index.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { createReferenceEngine } from "../../src/engine/reference/index.ts";
import { CaseBuilder } from "./case-builder.ts";
import { OP_CASES } from "./op-cases.ts";
import { difference, runCase } from "./run-case.ts";

/** Ops that jump: an fp16 input that differs in its last place may land on the other side. */
const ONLY_FP32: ReadonlySet<string> = new Set<OpName>(["constexpr_cast"]);

describe("every op with an ONNX form", () => {
  const reference = createReferenceEngine();
  let cpu: Engine;
  beforeAll(async () => {
    cpu = await createCpuEngine({ threads: 2 });
  });
  afterAll(async () => {
    await cpu.close();
  });

  for (const [name, recipes] of Object.entries(OP_CASES)) {
    it.each(ONLY_FP32.has(name) ? (["fp32"] as const) : (["fp32", "fp16"] as const))(
      `${name} gives the reference's numbers in %s`,
      async (type) => {
        for (const [index, recipe] of recipes.entries()) {
          const builder = new CaseBuilder(type);
          const fn = builder.finish(recipe(builder));
          const [expected = []] = await runCase(reference, fn, builder.inputs);
          const [actual = []] = await runCase(cpu, fn, builder.inputs);
          for (const [place, wanted] of expected.entries()) {
            const got = actual[place];
            const problem = got === undefined ? "no result" : difference(got, wanted, 4);
            expect(problem, `case ${index}`).toBeUndefined();
          }
        }
      },
    );
  }

  it("gives the same bits in every run of every session, duplicate indices included", async () => {
    for (const [name, recipes] of Object.entries(OP_CASES)) {
      for (const recipe of recipes) {
        const builder = new CaseBuilder("fp32");
        const fn = builder.finish(recipe(builder));
        const runs = [
          ...(await runCase(cpu, fn, builder.inputs, 3)),
          ...(await runCase(cpu, fn, builder.inputs, 3)),
        ];
        for (const run of runs)
          expect(
            run.map(({ bytes }) => bytes),
            name,
          ).toEqual(runs[0]?.map(({ bytes }) => bytes));
      }
    }
  });
});
