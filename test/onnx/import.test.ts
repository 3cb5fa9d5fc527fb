import { create } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { evaluateFunction } from "../../src/engine/reference/evaluate.ts";
import { hostTensor } from "../../src/mil/host-tensor.ts";
import { verifyProgram } from "../../src/mil/verify.ts";
import type { DataType } from "../../src/mil/types.ts";
import { OnnxError } from "../../src/onnx/errors.ts";
import { GraphProtoSchema } from "../../src/onnx/generated/onnx_pb.ts";
import { importOnnx } from "../../src/onnx/import/import-model.ts";
import { IMPORTERS } from "../../src/onnx/import/table.ts";
import { parseOnnx } from "../../src/onnx/read-model.ts";
import { AnecdoteError } from "../../src/util/errors.ts";
import { Random } from "../../src/util/random.ts";
import { MORE_CASES } from "./more-cases.ts";
import { graphMessage, modelBytes } from "./onnx-model.ts";
import { floats, int64, positive, scalar, whole } from "./operator-case.ts";
import type { Case } from "./operator-case.ts";
import type { TestGraph, TestTensor } from "./onnx-model.ts";

// ONNX Runtime is the judge: what it computes for a model, the imported program computes on the reference engine.
const runtime = await import("onnxruntime-node").catch(() => undefined);

const unary = [
  ..."Abs Ceil Cos Cosh Erf Exp Floor Round Sign Sin Sinh Tan Tanh Atan Relu Sigmoid Softplus Softsign".split(
    " ",
  ),
  ..."Neg Identity Elu Selu Celu LeakyRelu ThresholdedRelu HardSigmoid HardSwish Mish Reciprocal".split(
    " ",
  ),
  "IsNaN",
].map((op): Case => ({
  op,
  inputs: [floats(2, 3, 4)],
  opset: op === "Mish" ? 18 : 17,
  ...(op === "IsNaN" && { results: ["bool"] as const }),
}));

const binary = "Add Sub Mul Div Max Min".split(" ").flatMap((op): Case[] => [
  { op, inputs: [floats(2, 3, 4), positive(3, 1)] },
  {
    op,
    what: "integers",
    inputs: [whole("int32", [2, 5], -9, 9), whole("int32", [5], 1, 4)],
    results: ["int32"],
  },
]);

const comparisons = "Equal Less LessOrEqual Greater GreaterOrEqual".split(" ").map((op): Case => ({
  op,
  inputs: [whole("int32", [3, 4], 0, 3), whole("int32", [4], 0, 3)],
  results: ["bool"],
}));

const reductions = "Mean Sum Max Min Prod L1 L2 LogSumExp SumSquare"
  .split(" ")
  .flatMap((name): Case[] => [
    { op: `Reduce${name}`, inputs: [floats(2, 3, 4)], constants: [int64(-1)], opset: 18 },
    {
      op: `Reduce${name}`,
      what: "axes as an attribute",
      inputs: [floats(2, 3, 4)],
      attributes: { axes: [0n, 2n], keepdims: 0n },
      opset: name === "Sum" ? 11 : 13,
    },
  ]);

const CASES: readonly Case[] = [
  ...MORE_CASES,
  ...unary,
  ...binary,
  ...comparisons,
  ...reductions,
  { op: "Sqrt", inputs: [positive(6)] },
  { op: "Log", inputs: [positive(6)] },
  { op: "ReduceLogSum", inputs: [positive(2, 5)], opset: 13 },
  { op: "Acos", inputs: [{ type: "fp32", shape: [3], values: [-0.5, 0.25, 0.9] }] },
  { op: "Asin", inputs: [{ type: "fp32", shape: [3], values: [-0.5, 0.25, 0.9] }] },
  { op: "Atanh", inputs: [{ type: "fp32", shape: [3], values: [-0.5, 0.25, 0.9] }] },
  { op: "Pow", inputs: [positive(2, 3), floats(3)] },
  { op: "Pow", what: "whole exponents", inputs: [floats(4)], constants: [int64(2)] },
  {
    op: "Mod",
    inputs: [whole("int32", [8], -9, 9), whole("int32", [8], 1, 5)],
    results: ["int32"],
  },
  { op: "Mod", what: "of floats", inputs: [floats(8), positive(8)], attributes: { fmod: 1n } },
  { op: "Sum", inputs: [floats(2, 3), floats(3), floats(1)] },
  { op: "Mean", inputs: [floats(2, 3), floats(2, 3), floats(2, 3)] },
  {
    op: "Where",
    inputs: [whole("bool", [2, 3], 0, 1), floats(2, 3), floats(3)],
  },
  { op: "And", inputs: [whole("bool", [6], 0, 1), whole("bool", [6], 0, 1)], results: ["bool"] },
  { op: "Or", inputs: [whole("bool", [6], 0, 1), whole("bool", [6], 0, 1)], results: ["bool"] },
  { op: "Xor", inputs: [whole("bool", [6], 0, 1), whole("bool", [6], 0, 1)], results: ["bool"] },
  { op: "Not", inputs: [whole("bool", [6], 0, 1)], results: ["bool"] },
  { op: "Clip", inputs: [floats(9)], constants: [scalar("fp32", -0.5), scalar("fp32", 1)] },
  { op: "Clip", what: "one bound", inputs: [floats(9)], constants: [undefined, scalar("fp32", 1)] },
  { op: "Clip", what: "old form", inputs: [floats(9)], attributes: { min: 0, max: 6 }, opset: 6 },
  { op: "Cast", inputs: [floats(9)], attributes: { to: 6n }, results: ["int32"] },
  {
    op: "Cast",
    what: "to bool",
    inputs: [whole("int32", [9], -1, 1)],
    attributes: { to: 9n },
    results: ["bool"],
  },
  { op: "Gelu", inputs: [floats(9)] },
  { op: "Gelu", what: "tanh", inputs: [floats(9)], attributes: { approximate: "tanh" } },
  { op: "QuickGelu", inputs: [floats(9)], attributes: { alpha: 1.5 }, domain: "com.microsoft" },
  { op: "FastGelu", inputs: [floats(2, 4)], constants: [floats(4)], domain: "com.microsoft" },
  { op: "BiasGelu", inputs: [floats(2, 4)], constants: [floats(4)], domain: "com.microsoft" },
  { op: "PRelu", inputs: [floats(2, 3, 4)], constants: [floats(3, 1)] },
  { op: "PRelu", what: "one slope", inputs: [floats(2, 3)], constants: [floats(1)] },
  { op: "Softmax", inputs: [floats(2, 3, 4)], attributes: { axis: 1n } },
  {
    op: "Softmax",
    what: "old rule of axes",
    inputs: [floats(2, 3, 4)],
    attributes: { axis: 1n },
    opset: 11,
  },
  { op: "LogSoftmax", inputs: [floats(2, 3, 4)] },
  { op: "Dropout", inputs: [floats(5)], opset: 13 },

  { op: "MatMul", inputs: [floats(2, 3, 4), floats(4, 5)] },
  { op: "MatMul", what: "a layer", inputs: [floats(2, 3, 4)], constants: [floats(4, 5)] },
  { op: "MatMul", what: "a vector", inputs: [floats(4), floats(2, 4, 5)] },
  {
    op: "Gemm",
    inputs: [floats(3, 4)],
    constants: [floats(5, 4), floats(5)],
    attributes: { transB: 1n },
  },
  {
    op: "Gemm",
    what: "factors",
    inputs: [floats(4, 3), floats(4, 5), floats(3, 1)],
    attributes: { transA: 1n, alpha: 0.5, beta: 2 },
  },
  {
    op: "FusedMatMul",
    inputs: [floats(2, 4, 3), floats(2, 5, 4)],
    attributes: { transA: 1n, transB: 1n, alpha: 0.25 },
    domain: "com.microsoft",
  },
  {
    op: "MatMulInteger",
    inputs: [whole("uint8", [2, 3], 0, 255), whole("uint8", [3, 4], 0, 255)],
    constants: [scalar("uint8", 7), scalar("uint8", 100)],
    results: ["int32"],
  },
  ...["bij,bjk->bik", "bqhd,bkhd->bhqk", "ij,jk", "i,j->ji", "...ij,...jk->...ik"].map(
    (equation): Case => ({
      op: "Einsum",
      what: equation,
      inputs:
        equation === "i,j->ji"
          ? [floats(3), floats(4)]
          : equation === "ij,jk"
            ? [floats(3, 4), floats(4, 2)]
            : equation === "bqhd,bkhd->bhqk"
              ? [floats(2, 3, 2, 4), floats(2, 5, 2, 4)]
              : [floats(2, 3, 4), floats(2, 4, 5)],
      attributes: { equation },
    }),
  ),
  { op: "Einsum", what: "a sum", inputs: [floats(3, 4)], attributes: { equation: "ij->j" } },

  {
    op: "Conv",
    inputs: [floats(1, 4, 7, 6)],
    constants: [floats(6, 2, 3, 3), floats(6)],
    attributes: { group: 2n, pads: [1n, 0n, 2n, 1n], strides: [2n, 1n], dilations: [1n, 2n] },
  },
  {
    op: "Conv",
    what: "SAME_UPPER",
    inputs: [floats(1, 2, 7)],
    constants: [floats(3, 2, 4)],
    attributes: { auto_pad: "SAME_UPPER", strides: [2n] },
  },
  {
    op: "ConvTranspose",
    inputs: [floats(1, 4, 5, 4)],
    constants: [floats(4, 3, 3, 3), floats(6)],
    attributes: {
      group: 2n,
      pads: [1n, 0n, 1n, 1n],
      strides: [2n, 3n],
      output_padding: [1n, 0n],
    },
  },
  {
    op: "MaxPool",
    inputs: [floats(1, 2, 7, 6)],
    attributes: { kernel_shape: [3n, 2n], strides: [2n, 2n], pads: [1n, 0n, 0n, 1n] },
  },
  {
    op: "MaxPool",
    what: "ceil_mode",
    inputs: [floats(1, 2, 6, 7)],
    attributes: { kernel_shape: [3n, 3n], strides: [2n, 2n], ceil_mode: 1n },
  },
  {
    op: "AveragePool",
    inputs: [floats(1, 2, 7, 6)],
    attributes: { kernel_shape: [3n, 3n], strides: [2n, 1n], pads: [1n, 1n, 1n, 1n] },
  },
  {
    op: "AveragePool",
    what: "counting padding",
    inputs: [floats(1, 2, 7)],
    attributes: { kernel_shape: [3n], pads: [1n, 1n], count_include_pad: 1n },
  },
  { op: "GlobalAveragePool", inputs: [floats(2, 3, 4, 5)] },
  { op: "GlobalMaxPool", inputs: [floats(2, 3, 4, 5)] },
  {
    op: "LpPool",
    inputs: [floats(1, 2, 6)],
    attributes: { kernel_shape: [2n], strides: [2n] },
    opset: 18,
  },
  { op: "Flatten", inputs: [floats(2, 3, 4)], attributes: { axis: 2n } },
  { op: "DepthToSpace", inputs: [floats(1, 8, 2, 3)], attributes: { blocksize: 2n } },
  {
    op: "DepthToSpace",
    what: "CRD",
    inputs: [floats(1, 8, 2, 3)],
    attributes: { blocksize: 2n, mode: "CRD" },
  },
  { op: "SpaceToDepth", inputs: [floats(1, 2, 4, 6)], attributes: { blocksize: 2n } },
  {
    op: "Resize",
    what: "nearest",
    inputs: [floats(1, 2, 3, 4)],
    constants: [undefined, { type: "fp32", shape: [4], values: [1, 1, 2, 3] }],
    attributes: {
      mode: "nearest",
      coordinate_transformation_mode: "asymmetric",
      nearest_mode: "floor",
    },
  },
  {
    op: "Resize",
    what: "linear",
    inputs: [floats(1, 2, 3, 4)],
    constants: [undefined, undefined, int64(1, 2, 7, 6)],
    attributes: { mode: "linear" },
  },
  {
    op: "Resize",
    what: "linear, corners aligned",
    inputs: [floats(1, 2, 3, 4)],
    constants: [undefined, undefined, int64(1, 2, 7, 6)],
    attributes: { mode: "linear", coordinate_transformation_mode: "align_corners" },
  },

  {
    op: "BatchNormalization",
    inputs: [floats(2, 3, 4)],
    constants: [floats(3), floats(3), floats(3), positive(3)],
    opset: 15,
  },
  {
    op: "BatchNormalization",
    what: "rank 2",
    inputs: [floats(4, 3)],
    constants: [floats(3), floats(3), floats(3), positive(3)],
    opset: 15,
  },
  { op: "InstanceNormalization", inputs: [floats(2, 3, 5)], constants: [floats(3), floats(3)] },
  { op: "LayerNormalization", inputs: [floats(2, 3, 5)], constants: [floats(5), floats(5)] },
  { op: "LayerNormalization", what: "run-time scale", inputs: [floats(2, 3, 5), floats(5)] },
  {
    op: "SimplifiedLayerNormalization",
    inputs: [floats(2, 3, 5)],
    constants: [floats(5)],
    attributes: { epsilon: 1e-6 },
  },
  {
    op: "SkipSimplifiedLayerNormalization",
    inputs: [floats(2, 3, 8), floats(2, 3, 8)],
    constants: [floats(8)],
    attributes: { epsilon: 1e-6 },
    domain: "com.microsoft",
  },
  { op: "LpNormalization", inputs: [floats(3, 4)], attributes: { axis: 1n } },
  { op: "LRN", inputs: [floats(1, 5, 2, 2)], attributes: { size: 3n } },

  {
    op: "ArgMax",
    inputs: [floats(3, 4)],
    attributes: { axis: 1n, keepdims: 0n },
    results: ["int64"],
  },
  { op: "ArgMin", inputs: [floats(3, 4)], results: ["int64"] },
  {
    op: "CumSum",
    inputs: [floats(3, 4)],
    constants: [scalar("int64", 1)],
    attributes: { reverse: 1n },
  },

  { op: "Shape", inputs: [floats(3, 4)], results: ["int64"] },
  { op: "Size", inputs: [floats(3, 4)], results: ["int64"] },
  { op: "Reshape", inputs: [floats(3, 4)], constants: [int64(0, 2, -1)] },
  { op: "Squeeze", inputs: [floats(1, 3, 1)], constants: [int64(0)] },
  { op: "Unsqueeze", inputs: [floats(3, 4)], constants: [int64(0, -1)] },
  { op: "Unsqueeze", what: "old form", inputs: [floats(3)], attributes: { axes: [1n] }, opset: 11 },
  { op: "Transpose", inputs: [floats(2, 3, 4)], attributes: { perm: [2n, 0n, 1n] } },
  { op: "Transpose", what: "without an order", inputs: [floats(2, 3, 4)] },
  { op: "Concat", inputs: [floats(2, 3), floats(2, 1)], attributes: { axis: -1n } },
  {
    op: "Split",
    inputs: [floats(5, 2)],
    constants: [int64(2, 3)],
    results: ["fp32", "fp32"],
  },
  {
    op: "Split",
    what: "by number",
    inputs: [floats(5, 2)],
    attributes: { num_outputs: 2n },
    results: ["fp32", "fp32"],
  },
  {
    op: "Slice",
    inputs: [floats(5, 6)],
    constants: [int64(1, -1), int64(9, -99), int64(0, 1), int64(2, -2)],
  },
  {
    op: "Slice",
    what: "old form",
    inputs: [floats(5, 6)],
    attributes: { starts: [1n], ends: [-1n] },
    opset: 9,
  },
  { op: "Pad", inputs: [floats(2, 3)], constants: [int64(1, 0, 0, 2), scalar("fp32", 5)] },
  {
    op: "Pad",
    what: "reflect",
    inputs: [floats(4, 3)],
    constants: [int64(1, 0, 2, 1)],
    attributes: { mode: "reflect" },
  },
  {
    op: "Pad",
    what: "edge",
    inputs: [floats(4, 3)],
    constants: [int64(1, 0, 2, 1)],
    attributes: { mode: "edge" },
  },
  {
    op: "Pad",
    what: "integers",
    inputs: [whole("int32", [2, 3], 0, 9)],
    constants: [int64(1, 0, 0, 2)],
    results: ["int32"],
  },
  { op: "Tile", inputs: [floats(2, 3)], constants: [int64(2, 1)] },
  { op: "Expand", inputs: [floats(3, 1)], constants: [int64(2, 1, 4)] },
  { op: "Trilu", inputs: [floats(4, 5)], attributes: { upper: 0n } },
  {
    op: "Trilu",
    what: "above the diagonal",
    inputs: [floats(4, 5)],
    constants: [scalar("int64", 2)],
  },
  { op: "ReverseSequence", inputs: [floats(4, 3)], constants: [int64(2, 4, 1)] },
  { op: "EyeLike", inputs: [floats(3, 4)], attributes: { k: 1n } },

  {
    op: "Gather",
    inputs: [floats(4, 3)],
    constants: [{ type: "int64", shape: [2, 2], values: [0, -1, 3, 1] }],
  },
  { op: "Gather", what: "one row", inputs: [floats(4, 3)], constants: [scalar("int64", 2)] },
  {
    op: "GatherElements",
    inputs: [floats(4, 3)],
    constants: [{ type: "int64", shape: [2, 2], values: [0, 3, 2, 1] }],
  },
  {
    op: "GatherND",
    inputs: [floats(2, 3, 4)],
    constants: [{ type: "int64", shape: [2, 2], values: [0, 2, 1, 0] }],
  },
  {
    op: "ScatterElements",
    inputs: [floats(4, 3)],
    constants: [{ type: "int64", shape: [1, 3], values: [0, 3, 1] }, floats(1, 3)],
    attributes: { reduction: "add" },
  },
  {
    op: "ScatterND",
    inputs: [floats(4, 3)],
    constants: [{ type: "int64", shape: [2, 1], values: [3, 0] }, floats(2, 3)],
  },
  {
    op: "OneHot",
    inputs: [whole("int64", [5], -3, 2)],
    constants: [scalar("int64", 3), { type: "fp32", shape: [2], values: [-1, 4] }],
  },
  {
    op: "TopK",
    inputs: [floats(3, 7)],
    constants: [int64(3)],
    results: ["fp32", "int64"],
  },

  {
    op: "QuantizeLinear",
    inputs: [floats(2, 5)],
    constants: [scalar("fp32", 0.02), scalar("uint8", 100)],
    results: ["uint8"],
  },
  {
    op: "QuantizeLinear",
    what: "per channel",
    inputs: [floats(2, 3, 4)],
    constants: [positive(3), { type: "int8", shape: [3], values: [0, 5, -7] }],
    attributes: { axis: 1n },
    results: ["int8"],
  },
  {
    op: "DequantizeLinear",
    inputs: [whole("int8", [2, 3], -128, 127)],
    constants: [positive(3), { type: "int8", shape: [3], values: [1, 5, -7] }],
    attributes: { axis: 1n },
  },
  {
    op: "DynamicQuantizeLinear",
    inputs: [floats(3, 5)],
    results: ["uint8", "fp32", "uint8"],
  },
  {
    op: "QLinearMatMul",
    inputs: [whole("uint8", [2, 3], 0, 255)],
    constants: [
      scalar("fp32", 0.02),
      scalar("uint8", 120),
      whole("uint8", [3, 4], 0, 255),
      scalar("fp32", 0.01),
      scalar("uint8", 128),
      scalar("fp32", 0.05),
      scalar("uint8", 110),
    ],
    results: ["uint8"],
  },
  {
    op: "QLinearConv",
    inputs: [whole("uint8", [1, 2, 5], 0, 255)],
    constants: [
      scalar("fp32", 0.02),
      scalar("uint8", 120),
      whole("int8", [3, 2, 3], -128, 127),
      { type: "fp32", shape: [3], values: [0.01, 0.02, 0.03] },
      { type: "int8", shape: [3], values: [0, 0, 0] },
      scalar("fp32", 0.1),
      scalar("uint8", 110),
      whole("int32", [3], -500, 500),
    ],
    attributes: { pads: [1n, 1n] },
    results: ["uint8"],
  },
  {
    op: "ConvInteger",
    inputs: [whole("uint8", [1, 2, 5, 5], 0, 255)],
    constants: [whole("uint8", [3, 2, 3, 3], 0, 255), scalar("uint8", 7), scalar("uint8", 100)],
    results: ["int32"],
  },
];

function graphOf({
  op,
  inputs,
  constants = [],
  attributes,
  results = ["fp32"],
  domain,
}: Case): TestGraph {
  const names = inputs.map((_, index) => `in${index}`);
  const extra = constants.map((tensor, index) => (tensor === undefined ? "" : `c${index}`));
  const outputs = results.map((_, index) => `out${index}`);
  return {
    inputs: Object.fromEntries(
      inputs.map(({ type, shape }, index) => [`in${index}`, { type, shape }]),
    ),
    constants: Object.fromEntries(
      constants.flatMap((tensor, index) => (tensor === undefined ? [] : [[`c${index}`, tensor]])),
    ),
    nodes: [
      {
        op,
        inputs: [...names, ...extra],
        outputs,
        ...(attributes !== undefined && { attributes }),
        ...(domain !== undefined && { domain }),
      },
    ],
    outputs: Object.fromEntries(outputs.map((name, index) => [name, results[index] ?? "fp32"])),
  };
}

function evaluated(bytes: Uint8Array, inputs: ReadonlyMap<string, TestTensor>) {
  const program = importOnnx(parseOnnx(bytes));
  const [fn] = program.functions;
  if (fn === undefined) throw new Error("no function");
  const tensors = new Map(
    fn.inputs.map(({ name, type }) => {
      const { shape, values } = inputs.get(name) ?? { shape: [], values: [] };
      const dataType = type.kind === "tensor" ? type.dataType : "fp32";
      return [name, hostTensor(dataType, shape, Float64Array.from(values))];
    }),
  );
  return { program, results: evaluateFunction(fn, tensors) };
}

describe.skipIf(runtime === undefined)("imported operators against ONNX Runtime", () => {
  const ORT_TYPES: Readonly<Partial<Record<DataType, string>>> = {
    fp32: "float32",
    int32: "int32",
    int64: "int64",
    uint8: "uint8",
    int8: "int8",
    int16: "int16",
    bool: "bool",
  };

  async function expected(bytes: Uint8Array, inputs: ReadonlyMap<string, TestTensor>) {
    if (runtime === undefined) return new Map<string, readonly number[]>();
    const session = await runtime.InferenceSession.create(bytes, {
      logSeverityLevel: 4,
      intraOpNumThreads: 1,
      graphOptimizationLevel: "disabled",
    });
    const feeds = Object.fromEntries(
      [...inputs].map(([name, { type, shape, values }]) => {
        const data =
          type === "fp32"
            ? Float32Array.from(values)
            : type === "int32"
              ? Int32Array.from(values)
              : type === "int8"
                ? Int8Array.from(values)
                : type === "int64"
                  ? BigInt64Array.from(values, BigInt)
                  : Uint8Array.from(values);
        return [
          name,
          new runtime.Tensor(ORT_TYPES[type] as "float32", data as Float32Array, [...shape]),
        ];
      }),
    );
    const results = await session.run(feeds);
    await session.release();
    return new Map(
      Object.entries(results).map(([name, { dims, data }]) => [
        name,
        {
          dims: [...dims],
          numbers: Array.from(data as Iterable<number | bigint | boolean>, Number),
        },
      ]),
    );
  }

  const named = CASES.map(
    (one) => [one.what === undefined ? one.op : `${one.op}, ${one.what}`, one] as const,
  );
  test.each(named)("%s", async (_, one) => {
    const bytes = modelBytes(graphOf(one), one.opset ?? 18 + (one.op === "Gelu" ? 3 : 0));
    const inputs = new Map(one.inputs.map((tensor, index) => [`in${index}`, tensor]));
    const wanted = await expected(bytes, inputs);
    const { program, results } = evaluated(bytes, inputs);
    verifyProgram(program);
    for (const [name, want] of wanted) {
      if (!("dims" in want)) continue;
      const got = results.get(name);
      expect(got?.shape).toEqual(want.dims);
      const isQuantized =
        (one.results?.[0] ?? "fp32").startsWith("uint8") && one.op.startsWith("QLinear");
      want.numbers.forEach((number, index) => {
        const value = got?.data[index] ?? NaN;
        // A sum that lands between two steps may be rounded to either of them.
        if (isQuantized) expect(Math.abs(value - number)).toBeLessThanOrEqual(1);
        else expect(value).toBeCloseTo(number, Math.abs(number) > 100 ? 2 : 4);
      });
    }
  });

  test("every operator of the table is among these cases, or tested below", () => {
    const elsewhere = [
      "Constant",
      "ConstantOfShape",
      "Range",
      "If",
      "Loop",
      "Scan",
      "NonZero",
      "Scatter",
      "Upsample",
    ];
    // Operators that this ONNX Runtime has no kernel for, or only in other operator sets; they share code with others.
    const shared = [
      "CastLike",
      "BitCast",
      "AffineGrid",
      "LinearAttention",
      "CausalConvWithState",
      "TensorScatter",
      "Swish",
      "RMSNormalization",
      "GroupNormalization",
      "MeanVarianceNormalization",
      "SkipLayerNormalization",
    ];
    const tested = new Set([...CASES.map(({ op }) => op), ...elsewhere, ...shared]);
    expect(Object.keys(IMPORTERS).filter((op) => !tested.has(op))).toEqual([]);
  });
});

describe("imported graphs", () => {
  const fp32 = (...shape: readonly (number | string)[]) => ({ type: "fp32" as const, shape });

  test("shape arithmetic is done when the model is converted", () => {
    const graph: TestGraph = {
      inputs: { x: fp32("batch", 6) },
      constants: { zero: scalar("int64", 0), two: int64(2), rest: int64(-1) },
      nodes: [
        { op: "Shape", inputs: ["x"], outputs: ["shape"] },
        { op: "Gather", inputs: ["shape", "zero"], outputs: ["batch_size"] },
        { op: "Unsqueeze", inputs: ["batch_size", "axes"], outputs: ["first"] },
        { op: "Constant", inputs: [], outputs: ["axes"], attributes: { value_ints: [0n] } },
        {
          op: "Concat",
          inputs: ["first", "two", "rest"],
          outputs: ["target"],
          attributes: { axis: 0n },
        },
        { op: "Reshape", inputs: ["x", "target"], outputs: ["y"] },
      ].toSorted((a, b) => Number(b.op === "Constant") - Number(a.op === "Constant")),
      outputs: { y: "fp32" },
    };
    const bytes = modelBytes(graph);
    expect(() => importOnnx(parseOnnx(bytes))).toThrow(/open sizes: \[batch, 6\]/);
    for (const options of [
      { shapes: new Map([["x", [4, 6]]]) },
      { dimensions: new Map([["batch", 4]]) },
    ]) {
      const [fn] = importOnnx(parseOnnx(bytes), options).functions;
      expect(fn?.operations.map(({ type }) => type)).toEqual(["reshape"]);
      expect(fn?.outputs[0]?.type).toMatchObject({ shape: [4, 2, 3] });
    }
  });

  test("a branch whose condition is known is taken in place", () => {
    const branch = (op: string) =>
      create(GraphProtoSchema, {
        ...graphMessage({
          inputs: {},
          constants: {},
          nodes: [{ op, inputs: ["x"], outputs: [`by_${op}`] }],
          outputs: { [`by_${op}`]: "fp32" },
        }),
      });
    const graph: TestGraph = {
      inputs: { x: fp32(3) },
      constants: { yes: scalar("bool", 1) },
      nodes: [
        {
          op: "If",
          inputs: ["yes"],
          outputs: ["y"],
          attributes: { then_branch: branch("Relu"), else_branch: branch("Neg") },
        },
      ],
      outputs: { y: "fp32" },
    };
    const [fn] = importOnnx(parseOnnx(modelBytes(graph))).functions;
    expect(fn?.operations.map(({ type }) => type)).toEqual(["relu"]);
  });

  test("names that MIL cannot spell are changed, and stay different", () => {
    const graph: TestGraph = {
      inputs: { "input.1": fp32(2), "input/1": fp32(2) },
      constants: {},
      nodes: [{ op: "Add", inputs: ["input.1", "input/1"], outputs: ["0"] }],
      outputs: { "0": "fp32" },
    };
    const [fn] = importOnnx(parseOnnx(modelBytes(graph))).functions;
    expect(fn?.inputs.map(({ name }) => name)).toEqual(["input_1", "input_1_"]);
    expect(fn?.outputs.map(({ name }) => name)).toEqual(["_0"]);
  });

  test("an input or a constant may be an output", () => {
    const graph: TestGraph = {
      inputs: { x: fp32(2) },
      constants: { c: floats(3) },
      nodes: [
        { op: "Identity", inputs: ["x"], outputs: ["y"] },
        { op: "Identity", inputs: ["c"], outputs: ["z"] },
      ],
      outputs: { y: "fp32", z: "fp32" },
    };
    const { program, results } = evaluated(modelBytes(graph), new Map([["x", floats(2)]]));
    verifyProgram(program);
    expect(results.get("z")?.shape).toEqual([3]);
  });

  const one = (op: string, domain?: string): TestGraph => ({
    inputs: { x: fp32(2) },
    constants: {},
    nodes: [{ op, inputs: ["x"], outputs: ["y"], ...(domain !== undefined && { domain }) }],
    outputs: { y: "fp32" },
  });

  test.each([
    [
      "a misspelt operator names the one that is meant",
      one("Softmaxx"),
      /Softmaxx .*cannot be imported[^]*Did you mean "Softmax"\?/,
    ],
    ["an operator with a name like another's names none", one("MaxUnpool"), /imported$/],
    ["an operator of another domain is refused", one("Relu", "my.domain"), /my\.domain\.Relu/],
    [
      "a value nobody makes is named",
      { ...one("Relu"), nodes: [{ op: "Relu", inputs: ["w"], outputs: ["y"] }] },
      /"w" is read before/,
    ],
    [
      "a result without a MIL form is refused",
      {
        ...one("MaxPool"),
        inputs: { x: fp32(1, 1, 4) },
        nodes: [
          { op: "MaxPool", inputs: ["x"], outputs: ["y", "i"], attributes: { kernel_shape: [2n] } },
        ],
        outputs: { y: "fp32", i: "int64" },
      } satisfies TestGraph,
      /result 1 \("i"\) has no MIL form/,
    ],
  ])("%s", (_, graph, message) => {
    const run = (): unknown => importOnnx(parseOnnx(modelBytes(graph)));
    expect(run).toThrow(OnnxError);
    expect(run).toThrow(message);
  });

  test("a wrong name of an input or a size is told with the nearest", () => {
    const bytes = modelBytes({
      ...one("Relu"),
      inputs: { image: fp32("batch", 2) },
      nodes: [{ op: "Relu", inputs: ["image"], outputs: ["y"] }],
    });
    const file = parseOnnx(bytes);
    expect(() => importOnnx(file, { shapes: new Map([["imag", [1, 2]]]) })).toThrow(
      /Did you mean "image"/,
    );
    expect(() => importOnnx(file, { dimensions: new Map([["bach", 1]]) })).toThrow(
      /Did you mean "batch"/,
    );
    expect(() => importOnnx(file, { shapes: new Map([["image", [1, 3]]]) })).toThrow(
      /does not fit/,
    );
  });

  test("tensors outside the model's folder are not read", () => {
    const graph = graphMessage({ ...one("Relu"), constants: { c: floats(2) } });
    const [tensor] = graph.initializer;
    if (tensor === undefined) throw new Error("no tensor");
    delete tensor.rawData;
    tensor.dataLocation = 1;
    tensor.externalData = [
      { $typeName: "onnx.StringStringEntryProto", key: "location", value: "../secret" },
    ];
    const file = { ...parseOnnx(modelBytes(one("Relu")), "m.onnx", "."), graph };
    expect(() => importOnnx(file)).toThrow(/not a file in the model's folder/);
  });

  test("damaged bytes end in one of the project's errors", () => {
    const whole = modelBytes({
      inputs: { x: fp32(1, 2, 5, 5) },
      constants: { w: floats(3, 2, 3, 3), shape: int64(1, -1) },
      nodes: [
        { op: "Conv", inputs: ["x", "w"], outputs: ["a"], attributes: { pads: [1n, 1n, 1n, 1n] } },
        { op: "Reshape", inputs: ["a", "shape"], outputs: ["b"] },
        { op: "Softmax", inputs: ["b"], outputs: ["y"] },
      ],
      outputs: { y: "fp32" },
    });
    const mutate = new Random(11);
    for (let round = 0; round < 3000; round++) {
      const bytes = whole.slice();
      for (let flips = 0; flips <= mutate.below(3); flips++) {
        bytes[mutate.below(bytes.length)] = mutate.below(256);
      }
      const cut = mutate.below(10) === 0 ? bytes.slice(0, mutate.below(bytes.length)) : bytes;
      try {
        importOnnx(parseOnnx(cut));
      } catch (error) {
        if (!(error instanceof AnecdoteError)) throw error;
      }
    }
  });
});
