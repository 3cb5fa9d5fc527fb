import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createCpuEngine } from "../../src/engine/cpu/index.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { evaluateFunction } from "../../src/engine/reference/evaluate.ts";
import { createReferenceEngine } from "../../src/engine/reference/index.ts";
import { runFunction } from "../../src/engine/run-function.ts";
import { createSimEngine } from "../../src/engine/sim/index.ts";
import { differentiate } from "../../src/grad/differentiate.ts";
import { FunctionBuilder, shaped } from "../../src/mil/builder.ts";
import { hostTensor } from "../../src/mil/host-tensor.ts";
import { tensorLiteral } from "../../src/mil/literal.ts";
import type { Literal, MilFunction, Value } from "../../src/mil/program.ts";
import type { DataType } from "../../src/mil/types.ts";
import { verifyFunction } from "../../src/mil/verify.ts";

/** A parameter of the other precision, from numbers that both hold. */
type Other = (shape: readonly number[], values: readonly number[]) => Literal;

const SHAPE = [2, 3, 2, 4];
const channels = [0.5, 1.5, -2];
const positive = [0.5, 1, 2];

/** From ios17 on the parameters of these ops may be of another precision than x. */
const CASES: Readonly<Record<string, (f: FunctionBuilder, x: Value, other: Other) => Value>> = {
  batch_norm: (f, x, other) =>
    f.op("batch_norm", {
      x,
      mean: other([3], [0.25, 0.5, -0.5]),
      variance: other([3], positive),
      gamma: other([3], channels),
      beta: other([3], [1, 0, -1]),
      epsilon: other([], [0.125]),
    }),
  conv: (f, x, other) =>
    f.op("conv", {
      x,
      weight: other([2, 3, 1, 1], [1, -0.5, 2, 0.25, 1, -1]),
      bias: other([2], [0.5, -1]),
    }),
  conv_transpose: (f, x, other) =>
    f.op("conv_transpose", {
      x,
      weight: other([3, 2, 1, 1], [1, -0.5, 2, 0.25, 1, -1]),
      bias: other([2], [0.5, -1]),
    }),
  elu: (f, x, other) => f.op("elu", { x, alpha: other([], [0.5]) }),
  instance_norm: (f, x, other) =>
    f.op("instance_norm", {
      x,
      gamma: other([3], channels),
      beta: other([3], positive),
      epsilon: other([], [0.125]),
    }),
  inverse: (f, x, other) => f.op("inverse", { x: f.op("exp", { x }), epsilon: other([], [0.125]) }),
  l2_norm: (f, x, other) => f.op("l2_norm", { x, epsilon: other([], [0.5]) }),
  layer_norm: (f, x, other) =>
    f.op("layer_norm", {
      x,
      axes: [1],
      gamma: other([3], channels),
      beta: other([3], positive),
      epsilon: other([], [0.125]),
    }),
  leaky_relu: (f, x, other) => f.op("leaky_relu", { x, alpha: other([], [0.25]) }),
  linear_activation: (f, x, other) =>
    f.op("linear_activation", { x, alpha: other([], [0.25]), beta: other([], [1]) }),
  local_response_norm: (f, x, other) =>
    f.op("local_response_norm", {
      x,
      size: 3,
      alpha: other([], [0.5]),
      beta: other([], [0.75]),
      k: other([], [1.5]),
    }),
  log: (f, x, other) => f.op("log", { x: f.op("exp", { x }), epsilon: other([], [0.125]) }),
  prelu: (f, x, other) => f.op("prelu", { x, alpha: other([3], channels) }),
  rsqrt: (f, x, other) => f.op("rsqrt", { x: f.op("exp", { x }), epsilon: other([], [0.125]) }),
  scaled_tanh: (f, x, other) =>
    f.op("scaled_tanh", { x, alpha: other([], [1.5]), beta: other([], [0.5]) }),
  sigmoid_hard: (f, x, other) =>
    f.op("sigmoid_hard", { x, alpha: other([], [0.25]), beta: other([], [0.5]) }),
  softplus_parametric: (f, x, other) =>
    f.op("softplus_parametric", { x, alpha: other([3], positive), beta: other([3], channels) }),
  thresholded_relu: (f, x, other) => f.op("thresholded_relu", { x, alpha: other([], [0.5]) }),
};

const NUMBERS = Array.from(
  { length: 48 },
  (_, index) => Math.round(Math.sin(index * 1.7) * 256) / 128,
);

function programOf(name: string, own: DataType, other: DataType): MilFunction {
  const f = new FunctionBuilder("main");
  const x = f.input("x", shaped(own, ...SHAPE));
  const recipe = CASES[name];
  if (recipe === undefined) throw new Error(name);
  return f.finish({ y: recipe(f, x, (shape, values) => tensorLiteral(other, shape, values)) });
}

const largest = (numbers: Iterable<number>): number =>
  [...numbers].reduce((most, number) => Math.max(most, Math.abs(number)), 0);

describe("parameters of another precision than x", () => {
  const reference = createReferenceEngine();
  const engines = new Map<string, Engine>([["sim:m4", createSimEngine("m4", { threads: 1 })]]);
  beforeAll(async () => {
    engines.set("cpu", await createCpuEngine({ threads: 1 }));
  });
  afterAll(async () => {
    for (const engine of engines.values()) await engine.close();
    await reference.close();
  });

  const cases = Object.keys(CASES).flatMap((name) => [
    { name, own: "fp16" as const, other: "fp32" as const },
    { name, own: "fp32" as const, other: "fp16" as const },
  ]);

  it.each(cases)("$name of $own with $other", async ({ name, own, other }) => {
    const fn = programOf(name, own, other);
    expect(verifyFunction(fn).unknownOps).toEqual([]);
    const wanted = (await runFunction(reference, fn, { x: NUMBERS })).get("y")?.toArray() ?? [];
    const plain = await runFunction(reference, programOf(name, own, own), { x: NUMBERS });
    expect(plain.get("y")?.toArray()).toEqual(wanted);
    for (const [engineName, engine] of engines) {
      const found = (await runFunction(engine, fn, { x: NUMBERS })).get("y")?.toArray() ?? [];
      const apart = wanted.map((number, index) => number - (found[index] ?? Number.NaN));
      const limit = engineName === "cpu" && own === "fp32" ? 2 ** -20 : 2 ** -8;
      expect(largest(apart), engineName).toBeLessThanOrEqual(limit * largest(wanted));
    }
    // The derivative is that of the op whose parameters are x's.
    const gradient = (program: MilFunction): readonly number[] => {
      const { forward, backward, taps } = differentiate(program, {
        withRespectTo: ["x"],
        recompute: "none",
      });
      expect(verifyFunction(backward).unknownOps).toEqual([]);
      const x = hostTensor(own, SHAPE, Float64Array.from(NUMBERS));
      const values = new Map(evaluateFunction(forward, new Map([["x", x]])));
      const y = values.get("y");
      if (y === undefined) throw new Error("no result");
      const d = hostTensor(
        own,
        y.shape,
        y.data.map((_, index) => (index % 3) - 0.5),
      );
      const given = new Map([...values, ["x", x] as const, ["d_y", d] as const]);
      const names = new Set(backward.inputs.map((input) => input.name));
      expect(taps.length).toBeGreaterThanOrEqual(0);
      const results = evaluateFunction(
        backward,
        new Map([...given].filter(([key]) => names.has(key))),
      );
      return [...(results.get("d_x")?.data ?? [])];
    };
    const [mixed, same] = [gradient(fn), gradient(programOf(name, own, own))];
    expect(mixed).toHaveLength(48);
    expect(mixed).toEqual(same);
  });

  it("gives the gradient of a convolution's weights in their own precision", () => {
    const f = new FunctionBuilder("main");
    const x = f.input("x", shaped("fp16", 1, 2, 1, 2));
    const weight = f.input("weight", shaped("fp32", 1, 2, 1, 1));
    const fn = f.finish({ y: f.op("conv", { x, weight }) });
    const { backward } = differentiate(fn, { withRespectTo: ["weight"], recompute: "none" });
    const results = evaluateFunction(
      backward,
      new Map([
        ["x", hostTensor("fp16", [1, 2, 1, 2], Float64Array.of(1, 2, 3, 4))],
        ["d_y", hostTensor("fp16", [1, 1, 1, 2], Float64Array.of(1, -2))],
      ]),
    );
    expect(results.get("d_weight")?.dataType).toBe("fp32");
    expect([...(results.get("d_weight")?.data ?? [])]).toEqual([-3, -5]);
  });
});
