import { assert, integer, property } from "fast-check";
import { describe, expect, test } from "vitest";
import { chipByName } from "../../src/chip/chips.ts";
import { checkFunction } from "../../src/chip/legality/check.ts";
import { evaluateFunction } from "../../src/engine/reference/evaluate.ts";
import { FunctionBuilder, programOf } from "../../src/mil/builder.ts";
import type { MilFunction, Value } from "../../src/mil/program.ts";
import { printProgram } from "../../src/mil/text/index.ts";
import { tensorType } from "../../src/mil/types.ts";
import { lowerFunction } from "../../src/lower/lower-function.ts";
import { Random } from "../../src/util/random.ts";
import { runLowered } from "../helpers/run-lowered.ts";
import { randomInputs } from "../helpers/tensors.ts";

interface Remedy {
  readonly rule: string;
  readonly chip: string;
  readonly write: (f: FunctionBuilder, x: Value, width: number) => Value;
}

/** Each breaks its rule through the in-memory path as written. x is [40, width]. */
const REMEDIES: readonly Remedy[] = [
  { rule: "gelu", chip: "m4", write: (f, x) => f.op("gelu", { x, mode: "TANH_APPROXIMATION" }) },
  {
    rule: "reduce-mean",
    chip: "m4",
    write: (f, x) => f.op("reduce_mean", { x, axes: [1], keep_dims: true }),
  },
  {
    rule: "rsqrt",
    chip: "m3",
    write: (f, x) => f.op("rsqrt", { x: f.op("mul", { x, y: x }), epsilon: 0.25 }),
  },
  { rule: "softmax-power-of-two", chip: "m4", write: (f, x) => f.op("softmax", { x, axis: -1 }) },
  {
    rule: "matmul-inner-32",
    chip: "m1",
    write: (f, x, width) => {
      const y = f.input("other", tensorType("fp16", [width, 33]));
      return f.op("matmul", { x, y, transpose_x: false, transpose_y: false });
    },
  },
  {
    rule: "lane-width",
    chip: "m4",
    write: (f, x) => {
      const column = f.input("column", tensorType("fp16", [40, 1]));
      return f.op("add", { x: f.op("reduce_max", { x, axes: [1], keep_dims: true }), y: column });
    },
  },
  { rule: "softplus", chip: "m4", write: (f, x) => f.op("softplus", { x }) },
  { rule: "square-fusion", chip: "m4", write: (f, x) => f.op("square", { x }) },
];

function written({ write }: Remedy, width: number): MilFunction {
  const f = new FunctionBuilder("before");
  const x = f.input("x", tensorType("fp16", [40, width]));
  return f.finish({ y: write(f, x, width) });
}

const rulesOf = (fn: MilFunction, chip: string): readonly string[] =>
  checkFunction(fn, chipByName(chip), "in-memory").map(({ rule }) => rule);

describe("through the in-memory path the rule", () => {
  test.for(REMEDIES)("$rule is kept by rewriting, with the same result", (remedy) => {
    const { chip, rule } = remedy;
    expect(rulesOf(written(remedy, 97), chip)).toContain(rule);
    assert(
      property(integer({ min: 33, max: 300 }), (width) => {
        const fn = written(remedy, width);
        const program = lowerFunction(fn, chipByName(chip), "in-memory");
        expect(rulesOf(program.function, chip)).not.toContain(rule);
        const inputs = randomInputs(fn, new Random(width));
        const wanted = evaluateFunction(fn, inputs, { precision: "float64" }).get("y");
        const got = runLowered(program, inputs, fn).get("y") ?? [];
        wanted?.data.forEach((value, i) => {
          expect(Math.abs((got[i] ?? NaN) - value)).toBeLessThan(2e-3 * (1 + Math.abs(value)));
        });
        expect(got.length).toBe(wanted?.data.length);
      }),
      { numRuns: 8 },
    );
  });

  test("the text before and after", async () => {
    const f = new FunctionBuilder("before");
    const x = f.input("x", tensorType("fp16", [40, 33]));
    const mean = f.op("reduce_mean", {
      x: f.op("mul", { x, y: x }),
      axes: [1],
      keep_dims: true,
    });
    const normal = f.op("mul", { x, y: f.op("rsqrt", { x: mean, epsilon: 1e-5 }) });
    const before = f.finish({ y: f.op("softmax", { x: normal, axis: -1 }) });
    const { function: lowered } = lowerFunction(before, chipByName("m4"), "in-memory");
    const program = programOf(before, { ...lowered, name: "after" });
    await expect(printProgram(program)).toMatchFileSnapshot("../golden/engine-remedies.mil");
  });
});
