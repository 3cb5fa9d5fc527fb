import { drawsOf, seedOfCall } from "../../mil/ops/random.ts";
import { Random } from "../../util/random.ts";
import type { DataType } from "../../mil/types.ts";
import { computeTypeOf, elementTypeOf } from "../element-types.ts";
import type { Lowering, LoweringSite } from "./site.ts";

// A random op of the engines draws the same numbers at every run (`mil/ops/random.ts`), so they are constants of the
// model; what is made of them may depend on operands that come while running. A file for other runtimes has their
// random operators, unless the op names its seed.

const ONNX_DRAWS = { uniform: "RandomUniform", normal: "RandomNormal" } as const;

/** Numbers in [0, 1), or of the normal distribution. */
function draws(
  site: LoweringSite,
  shape: readonly number[],
  kind: keyof typeof ONNX_DRAWS,
  type: DataType = site.resultType().dataType,
): string {
  if (site.isForOthers && site.call.int("seed") === -1) {
    return site.node(ONNX_DRAWS[kind], [], {
      dtype: BigInt(elementTypeOf(computeTypeOf(type))),
      shape: shape.map(BigInt),
    });
  }
  const name = site.operation.outputs[0]?.name ?? "";
  const count = shape.reduce((all, size) => all * size, 1);
  const random = new Random(seedOfCall(site.call, name));
  const numbers = drawsOf(random, count, (generator) => generator[kind]());
  return site.constant(type, shape, numbers);
}

/** A setting as a value of the result's type. */
const setting = (site: LoweringSite, name: string): string =>
  site.scalarOf(name, site.resultType().dataType);

export const LOWER_RANDOM = {
  random_uniform: (site) => {
    const low = setting(site, "low");
    const range = site.node("Sub", [setting(site, "high"), low]);
    const unit = draws(site, site.call.ints("shape"), "uniform");
    return site.node("Add", [low, site.node("Mul", [range, unit])]);
  },
  random_normal: (site) => {
    const unit = draws(site, site.call.ints("shape"), "normal");
    const scaled = site.node("Mul", [setting(site, "stddev"), unit]);
    return site.node("Add", [setting(site, "mean"), scaled]);
  },
  random_bernoulli: (site) => {
    // Drawn numbers have more digits than fp32: rounded up to 1 they would never be below a probability of 1.
    const unit = draws(site, site.call.ints("shape"), "uniform", "fp64");
    const probability = site.cast(setting(site, "prob"), "fp64");
    const type = site.resultType().dataType;
    return site.cast(site.node("Less", [unit, probability]), type === "fp16" ? "fp32" : type);
  },
  random_categorical: (site) => {
    const given = site.shape("x");
    const rank = given.length;
    const classes = given.at(-1) ?? 1;
    const last = site.graph.ints([-1]);
    const x = site.cast(site.value("x"), "fp64");
    const isLogits = site.call.string("mode") === "logits";
    const weights = isLogits
      ? site.node("Exp", [site.node("Sub", [x, site.node("ReduceMax", [x, last])])])
      : x;
    const unit = draws(site, site.resultShape(), "uniform", "fp64");
    const total = site.node("ReduceSum", [weights, last]);
    // [..., size, 1] against the ends of all classes but the last, [..., 1, classes - 1].
    const wanted = site.node("Unsqueeze", [site.node("Mul", [unit, total]), last]);
    const ends = site.node("CumSum", [weights, site.int(-1)]);
    const inner = site.node("Slice", [
      ends,
      site.graph.ints([0]),
      site.graph.ints([classes - 1]),
      site.graph.ints([rank - 1]),
    ]);
    const isPassed = site.node("GreaterOrEqual", [
      wanted,
      site.node("Unsqueeze", [inner, site.graph.ints([-2])]),
    ]);
    const type = site.resultType().dataType;
    return site.node("ReduceSum", [site.cast(isPassed, type === "fp16" ? "fp32" : type), last], {
      keepdims: 0n,
    });
  },
} as const satisfies Record<string, Lowering>;
