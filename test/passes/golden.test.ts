import { describe, expect, test } from "vitest";
import { differentiate } from "../../src/grad/differentiate.ts";
import { FunctionBuilder, programOf, shaped } from "../../src/mil/builder.ts";
import { scalarLiteral, tensorLiteral } from "../../src/mil/literal.ts";
import type { MilFunction, Value } from "../../src/mil/program.ts";
import { printProgram } from "../../src/mil/text/index.ts";
import { verifyFunction } from "../../src/mil/verify.ts";
import { shareCommonSubexpressions } from "../../src/passes/common-subexpressions.ts";
import { removeDeadCode } from "../../src/passes/dead-code.ts";
import { dropBroadcasts } from "../../src/passes/drop-broadcasts.ts";
import { foldConstants } from "../../src/passes/fold-constants.ts";
import { fuseActivations } from "../../src/passes/fuse-activations.ts";
import { fuseNormalizations } from "../../src/passes/fuse-normalizations.ts";
import { mergeCasts } from "../../src/passes/merge-casts.ts";
import { mergeReshapes } from "../../src/passes/merge-reshapes.ts";
import { mergeTransposes } from "../../src/passes/merge-transposes.ts";
import { optimize } from "../../src/passes/pipeline.ts";
import { removeIdentities } from "../../src/passes/remove-identities.ts";
import type { Pass } from "../../src/passes/rewrite.ts";
import { scatterIntoSums } from "../../src/passes/scatter-into-sums.ts";
import { simplifyArithmetic } from "../../src/passes/simplify-arithmetic.ts";
import { simplifyReductions } from "../../src/passes/simplify-reductions.ts";
import { simplifySlices } from "../../src/passes/simplify-slices.ts";
import { transposesIntoProducts } from "../../src/passes/transposes-into-products.ts";
import { BLOCK_WEIGHTS, transformerBlock } from "../helpers/transformer-block.ts";

interface Example {
  readonly file: string;
  readonly pass: Pass;
  readonly write: (f: FunctionBuilder, x: Value) => Readonly<Record<string, Value>>;
}

/** Every example gets x fp32 [2, 3, 4]. */
const EXAMPLES: readonly Example[] = [
  {
    file: "remove-dead-code",
    pass: removeDeadCode,
    write: (f, x) => {
      f.op("exp", { x: f.op("tanh", { x }) });
      return { y: f.op("square", { x }) };
    },
  },
  {
    file: "remove-identities",
    pass: removeIdentities,
    write: (f, x) => {
      const copy = f.op("identity", { x });
      const other = f.op("exp", { x });
      return {
        y: f.op("tanh", { x: copy }),
        same: x,
        z: f.op("select", { cond: tensorLiteral("bool", [], [0]), a: x, b: other }),
      };
    },
  },
  {
    file: "fold-constants",
    pass: foldConstants,
    write: (f, x) => {
      const table = f.constant(tensorLiteral("fp32", [4], [1, 2, 3, 4]), "table");
      const scale = f.op("mul", { x: f.op("sqrt", { x: table }), y: 2 });
      // A short op that makes a long constant stays.
      const ones = f.op("fill", { shape: [64, 64], value: scalarLiteral("fp32", 1) });
      return { y: f.op("mul", { x, y: scale }), ones };
    },
  },
  {
    file: "share-common-subexpressions",
    pass: shareCommonSubexpressions,
    write: (f, x) => {
      const a = f.op("mul", { x: f.op("tanh", { x }), y: x });
      const b = f.op("mul", { x, y: f.op("tanh", { x }) });
      const noise = (): Value => f.op("random_normal", { shape: [4], mean: 0, stddev: 1 });
      return { y: f.op("add", { x: a, y: b }), z: f.op("add", { x: noise(), y: noise() }) };
    },
  },
  {
    file: "simplify-slices",
    pass: simplifySlices,
    write: (f, x) => {
      const parts = f.many("split", { x, num_splits: 2, axis: 2 });
      const whole = f.op("concat", { values: parts, axis: 2 });
      const inner = f.op("concat", { values: [whole, x], axis: 0 });
      return {
        y: f.op("concat", { values: [inner, f.op("exp", { x })], axis: 0 }),
        all: f.op("tanh", {
          x: f.op("slice_by_index", { x, begin: [0, 0, 0], end: [2, 3, 4] }),
        }),
      };
    },
  },
  {
    file: "simplify-reductions",
    pass: simplifyReductions,
    write: (f, x) => {
      const row = f.op("reduce_max", { x, axes: [2], keep_dims: true });
      return { y: f.op("reduce_sum", { x: row, axes: [2], keep_dims: false }) };
    },
  },
  {
    file: "merge-casts",
    pass: mergeCasts,
    write: (f, x) => {
      const half = f.op("cast", { x, dtype: "fp16" });
      const wide = f.op("cast", { x: half, dtype: "fp32" });
      return {
        // Through a wider type and back: nothing.
        y: f.op("square", { x: f.op("cast", { x: wide, dtype: "fp16" }) }),
        // Through a narrower type: it rounds, so it stays.
        z: f.op("square", { x: wide }),
      };
    },
  },
  {
    file: "merge-reshapes",
    pass: mergeReshapes,
    write: (f, x) => {
      const flat = f.op("expand_dims", { x: f.op("reshape", { x, shape: [24] }), axes: [0] });
      return {
        y: f.op("tanh", { x: f.op("reshape", { x: flat, shape: [6, 4] }) }),
        z: f.op("tanh", { x: f.op("reshape", { x: flat, shape: [2, 3, 4] }) }),
      };
    },
  },
  {
    file: "merge-transposes",
    pass: mergeTransposes,
    write: (f, x) => {
      const turned = f.op("transpose", { x, perm: [2, 0, 1] });
      const thin = f.op("reduce_sum", { x, axes: [1], keep_dims: true });
      return {
        y: f.op("tanh", { x: f.op("transpose", { x: turned, perm: [1, 2, 0] }) }),
        z: f.op("tanh", { x: f.op("transpose", { x: turned, perm: [1, 0, 2] }) }),
        thin: f.op("tanh", { x: f.op("transpose", { x: thin, perm: [1, 0, 2] }) }),
      };
    },
  },
  {
    file: "transposes-into-products",
    pass: transposesIntoProducts,
    write: (f, x) => {
      const turned = f.op("transpose", { x, perm: [0, 2, 1] });
      const square = f.op("matmul", { x: turned, y: x });
      const result = f.op("matmul", { x, y: square });
      return { y: f.op("tanh", { x: f.op("transpose", { x: result, perm: [0, 2, 1] }) }) };
    },
  },
  {
    file: "drop-broadcasts",
    pass: dropBroadcasts,
    write: (f, x) => {
      const row = f.op("reduce_sum", { x, axes: [2], keep_dims: true });
      const spread = f.op("tile", { x: row, reps: [1, 1, 4] });
      const half = f.op("fill", { shape: [2, 3, 4], value: scalarLiteral("fp32", 0.5) });
      return { y: f.op("mul", { x: f.op("add", { x, y: spread }), y: half }) };
    },
  },
  {
    file: "simplify-arithmetic",
    pass: simplifyArithmetic,
    write: (f, x) => {
      const nothing = f.op("mul", { x: f.op("add", { x, y: 0 }), y: 1 });
      const scaled = f.op("mul", { x: f.op("mul", { x: nothing, y: 0.5 }), y: 3 });
      const negative = f.op("mul", { x: f.op("tanh", { x }), y: -1 });
      return {
        y: f.op("add", { x: scaled, y: negative }),
        z: f.op("pow", { x, y: 2 }),
        quarter: f.op("real_div", { x, y: 4 }),
        third: f.op("real_div", { x, y: 3 }),
      };
    },
  },
  {
    file: "scatter-into-sums",
    pass: scatterIntoSums,
    write: (f, x) => {
      const sum = f.op("scatter_along_axis", {
        data: f.op("fill", { shape: [2, 3, 4], value: scalarLiteral("fp32", 0) }),
        indices: tensorLiteral("int32", [2, 3, 1], [0, 1, 2, 3, 0, 1]),
        updates: tensorLiteral("fp32", [2, 3, 1], [1, 1, 1, 1, 1, 1]),
        axis: 2,
        mode: "add",
      });
      return { y: f.op("add", { x: f.op("exp", { x }), y: sum }) };
    },
  },
  {
    file: "fuse-activations",
    pass: fuseActivations,
    write: (f, x) => {
      const share = f.op("add", {
        x: f.op("erf", { x: f.op("real_div", { x, y: Math.SQRT2 }) }),
        y: 1,
      });
      const cube = f.op("mul", { x: f.op("pow", { x, y: 3 }), y: 0.044715 });
      const bent = f.op("tanh", {
        x: f.op("mul", { x: f.op("add", { x, y: cube }), y: Math.sqrt(2 / Math.PI) }),
      });
      return {
        swish: f.op("mul", { x: f.op("sigmoid", { x }), y: x }),
        exact: f.op("mul", { x: f.op("mul", { x, y: 0.5 }), y: share }),
        approximate: f.op("mul", {
          x: 0.5,
          y: f.op("mul", { x, y: f.op("add", { x: 1, y: bent }) }),
        }),
      };
    },
  },
  {
    file: "fuse-normalizations",
    pass: fuseNormalizations,
    write: (f, x) => {
      const kept = { axes: [-1], keep_dims: true };
      const top = f.op("reduce_max", { x, ...kept });
      const power = f.op("exp", { x: f.op("sub", { x, y: top }) });
      const sum = f.op("reduce_sum", { x: power, ...kept });
      const centered = f.op("sub", { x, y: f.op("reduce_mean", { x, ...kept }) });
      const variance = f.op("reduce_mean", { x: f.op("square", { x: centered }), ...kept });
      const normal = f.op("mul", { x: centered, y: f.op("rsqrt", { x: variance, epsilon: 1e-5 }) });
      const gamma = f.constant(tensorLiteral("fp32", [4], [1, 2, 3, 4]), "gamma");
      const beta = f.constant(tensorLiteral("fp32", [1, 1, 4], [4, 3, 2, 1]), "beta");
      return {
        softmax: f.op("real_div", { x: power, y: sum }),
        norm: f.op("add", { x: f.op("mul", { x: normal, y: gamma }), y: beta }),
      };
    },
  },
];

function text(fn: MilFunction): string {
  verifyFunction(fn);
  return printProgram(programOf(fn));
}

describe("the text before and after the pass", () => {
  test.for(EXAMPLES)("$file", async ({ file, pass, write }) => {
    const f = new FunctionBuilder("before");
    const x = f.input("x", shaped("fp32", 2, 3, 4));
    const before = f.finish(write(f, x));
    const after = { ...pass(before), name: "after" };
    verifyFunction(before);
    verifyFunction(after);
    const program = printProgram(programOf(before, after));
    await expect(program).toMatchFileSnapshot(`../golden/${file}.mil`);
  });
});

test("the text of a transformer block's derivative, simplified", async () => {
  const { forward, backward } = differentiate(transformerBlock(), {
    withRespectTo: ["hidden", ...BLOCK_WEIGHTS],
    recompute: "auto",
  });
  const optimized = [optimize(forward), optimize(backward)];
  for (const fn of optimized) verifyFunction(fn);
  await expect(printProgram(programOf(...optimized))).toMatchFileSnapshot(
    "../golden/block-derivative.mil",
  );
  expect(text(optimized[1] ?? backward).length).toBeLessThan(text(backward).length);
});
