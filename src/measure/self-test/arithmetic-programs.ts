import type { FunctionBuilder } from "../../mil/builder.ts";
import { tensorLiteral } from "../../mil/literal.ts";
import type { MilFunction, Value } from "../../mil/program.ts";
import { constant, padded, program } from "./number-case.ts";
import type { NumberCase } from "./number-case.ts";

/** Programs of the arithmetic cases: sums of products by every road that the engine has for them. */
export type Products = readonly (readonly [number, number])[];

export const DEPTH = 32;

/** The product of two inputs, [rows, inner] x [inner, columns]. */
export function matmulProgram(rows: number, inner: number, columns: number): MilFunction {
  const shapes = [
    [rows, inner],
    [inner, columns],
  ] as const;
  return program(shapes, (f, x, y) =>
    f.op("matmul", { x, y, transpose_x: false, transpose_y: false }),
  );
}

/** An elementwise op of two inputs of one shape. */
export function binaryProgram(op: "add" | "sub" | "mul", shape: readonly number[]): MilFunction {
  return program([shape, shape], (f, x, y) => f.op(op, { x, y }));
}

/** A convolution of step 1; `padding` on all four sides. */
export function convolved(
  f: FunctionBuilder,
  operands: { readonly x: Value; readonly weight: Value; readonly bias?: Value },
  padding = 0,
): Value {
  return f.op("conv", {
    ...operands,
    strides: [1, 1],
    pad_type: padding === 0 ? "valid" : "custom",
    pad: [padding, padding, padding, padding],
    dilations: [1, 1],
    groups: 1,
  });
}

/** [1, 32] x [32, 32]: element 0 of the result is the sum of these products. */
export function matmulOf(products: Products): Pick<NumberCase, "build" | "inputs"> {
  const weights = new Float64Array(DEPTH * DEPTH);
  products.forEach(([, right], row) => (weights[row * DEPTH] = right));
  return {
    build: () => matmulProgram(1, DEPTH, DEPTH),
    inputs: [
      padded(
        DEPTH,
        products.map(([left]) => left),
      ),
      weights,
    ],
  };
}

/** The same sum as a 1x1 convolution with constant weights over 32 channels and 32 places. */
export function convolutionOf(
  products: Products,
  bias?: number,
): Pick<NumberCase, "build" | "inputs"> {
  const x = new Float64Array(DEPTH * DEPTH);
  products.forEach(([left], channel) => (x[channel * DEPTH] = left));
  const weights = new Float64Array(DEPTH * DEPTH);
  products.forEach(([, right], channel) => (weights[channel] = right));
  return {
    build: () =>
      program([[1, DEPTH, 1, DEPTH]], (f, input) =>
        convolved(f, {
          x: input,
          weight: constant(f, [DEPTH, DEPTH, 1, 1], weights),
          ...(bias !== undefined && { bias: constant(f, [DEPTH], padded(DEPTH, [], bias)) }),
        }),
      ),
    inputs: [x],
  };
}

/** Infinity and NaN in two places of a 1x1 convolution by 2^-4. */
export function specialConvolution(): Pick<NumberCase, "build" | "inputs"> {
  const x = new Float64Array(DEPTH * DEPTH);
  x.set([Infinity, NaN]);
  return { ...convolutionOf([[1, 2 ** -4]]), inputs: [x] };
}

const CHANNELS = 64;
const EDGE = 64;

/** A 3x3 convolution whose middle row is 1, 2^-11, 0, over a 1 in the first column. */
export function wideConvolution(): Pick<NumberCase, "build" | "inputs"> {
  const x = new Float64Array(CHANNELS * EDGE * EDGE);
  x[0] = 1;
  const weights = new Float64Array(CHANNELS * CHANNELS * 9);
  weights.set([1, 2 ** -11, 0], 3);
  return {
    build: () =>
      program([[1, CHANNELS, EDGE, EDGE]], (f, input) =>
        convolved(f, { x: input, weight: constant(f, [CHANNELS, CHANNELS, 3, 3], weights) }, 1),
      ),
    inputs: [x],
  };
}

/** Four products of 127 by 127 between int8 operands with scales of 1, in a 1x1 convolution. */
export function integerProduct(): Pick<NumberCase, "build" | "inputs"> {
  const x = new Float64Array(DEPTH * DEPTH);
  for (let channel = 0; channel < 4; channel++) x[channel * DEPTH] = 127;
  const numbers = padded(DEPTH * DEPTH, [], 127);
  return {
    build: () =>
      program([[1, DEPTH, 1, DEPTH]], (f, input) => {
        const narrow = f.op("quantize", { input, scale: 1, output_dtype: "int8" });
        const weight = f.op("constexpr_affine_dequantize", {
          quantized_data: tensorLiteral("int8", [DEPTH, DEPTH, 1, 1], numbers),
          zero_point: tensorLiteral("int8", [], [0]),
          scale: tensorLiteral("fp16", [], [1]),
          axis: 0,
        });
        return convolved(f, { x: f.op("dequantize", { input: narrow, scale: 1 }), weight });
      }),
    inputs: [x],
  };
}

export function given<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("a probe's program lacks an input");
  return value;
}

/** Four sums in four columns of a matmul. */
export function fourSums(tied: readonly Products[]): Pick<NumberCase, "build" | "inputs"> {
  const left = new Float64Array(DEPTH * DEPTH);
  tied.forEach((terms, row) => terms.forEach(([a], k) => (left[row * DEPTH + k] = a)));
  const ones = padded(DEPTH * DEPTH, [], 1);
  return {
    build: () =>
      program(
        [
          [DEPTH, DEPTH],
          [DEPTH, DEPTH],
        ],
        (f, x, y) =>
          f.op("transpose", {
            x: f.op("matmul", { x, y, transpose_x: false, transpose_y: false }),
            perm: [1, 0],
          }),
      ),
    inputs: [left, ones],
  };
}

/** The same in four places of a 1x1 convolution with weights of 1. */
export function fourConvolved(tied: readonly Products[]): Pick<NumberCase, "build" | "inputs"> {
  const x = new Float64Array(DEPTH * DEPTH);
  tied.forEach((terms, place) => terms.forEach(([a], channel) => (x[channel * DEPTH + place] = a)));
  const weights = padded(DEPTH * DEPTH, [], 1);
  return {
    build: () =>
      program([[1, DEPTH, 1, DEPTH]], (f, input) =>
        convolved(f, { x: input, weight: constant(f, [DEPTH, DEPTH, 1, 1], weights) }),
      ),
    inputs: [x],
  };
}
