import { FunctionBuilder } from "../../mil/builder.ts";
import { numericLiteral, tensorLiteral } from "../../mil/literal.ts";
import type { Literal, MilFunction, Value } from "../../mil/program.ts";
import { elementCount, tensorType } from "../../mil/types.ts";
import type { BuildOptions, RowShape } from "./case.ts";
import { fixedNormals, orthogonalMatrix, quantized } from "./fixed-numbers.ts";
import { MeasureError } from "../errors.ts";

/** Scale of int8 activations: four standard deviations of the fixed inputs. */
export const ACTIVATION_SCALE = 4 / 127;
const EPSILON = 1e-5;

type ShapeOf<Kind extends RowShape["kind"]> = Extract<RowShape, { readonly kind: Kind }>;

/** The program of a row, one input `x` and one output `y`, weights as constants. */
export function rowFunction(shape: RowShape, options: BuildOptions): MilFunction {
  const writer = new RowWriter(options);
  switch (shape.kind) {
    case "conv1x1-chain":
      return writer.chain(shape);
    case "conv1x1":
      return writer.pointwise(shape);
    case "conv":
      return writer.convolution(shape);
    case "gemm":
    case "gemv":
      return writer.product(shape);
    case "self-attention":
      return writer.attention(shape);
    case "op":
      return writer.single(shape);
  }
}

/** Height and width of so many positions: square where the published chains are. */
export function gridOf(spatial: number): readonly [number, number] {
  const side = Math.sqrt(spatial);
  return spatial >= 4096 && Number.isInteger(side) ? [side, side] : [1, spatial];
}

/** Weights of the layers of a chain [layer][C, C]; all the same unless each has its own. */
export function chainWeights(shape: ShapeOf<"conv1x1-chain">): readonly Float32Array[] {
  const shared = orthogonalMatrix(shape.channels, 0);
  return Array.from({ length: shape.depth }, (_, layer) =>
    shape.own_weights && layer > 0 ? orthogonalMatrix(shape.channels, layer) : shared,
  );
}

/** Weights that keep the variance of normal inputs: standard deviation 1 / sqrt(inner). */
export function productWeights(count: number, inner: number, seed = 1): Float32Array {
  return fixedNormals(count, seed, 1 / Math.sqrt(inner));
}

class RowWriter {
  readonly #builder = new FunctionBuilder("main");
  readonly #options: BuildOptions;

  constructor(options: BuildOptions) {
    this.#options = options;
  }

  #input(shape: readonly number[]): Value {
    return this.#builder.input("x", tensorType(this.#options.dataType, shape));
  }

  #constant(shape: readonly number[], make: () => Float32Array): Value {
    return this.#builder.constant(this.#literal(shape, make), "weight");
  }

  #literal(shape: readonly number[], make: () => Float32Array): Literal {
    const type = tensorType(this.#options.dataType, shape);
    return this.#options.constants === "numbers" ? numericLiteral(type, make()) : placeholder(type);
  }

  /** int8 numbers that become floats while they are read. */
  #compressed(shape: readonly number[], make: () => Float32Array): Value {
    const type = tensorType("int8", shape);
    const { dataType, constants } = this.#options;
    const numbers = constants === "numbers" ? quantized(make()) : undefined;
    return this.#builder.op(
      "constexpr_affine_dequantize",
      {
        quantized_data:
          numbers === undefined ? placeholder(type) : numericLiteral(type, numbers.integers),
        zero_point: tensorLiteral("int8", [], [0]),
        scale: tensorLiteral(dataType, [], [numbers?.scale ?? 1]),
        axis: 0,
      },
      { name: "weight" },
    );
  }

  #weight(
    int8: "w8a8" | "weights" | undefined,
    shape: readonly number[],
    make: () => Float32Array,
  ): Value {
    return int8 === undefined ? this.#constant(shape, make) : this.#compressed(shape, make);
  }

  /** Activations to int8 and back: what a product between two such pairs may run on. */
  #narrowed(value: Value): Value {
    const scale = tensorLiteral(this.#options.dataType, [], [ACTIVATION_SCALE]);
    const narrow = this.#builder.op("quantize", { input: value, scale, output_dtype: "int8" });
    return this.#builder.op("dequantize", { input: narrow, scale });
  }

  #conv(x: Value, weight: Value, padding = 0): Value {
    return this.#builder.op("conv", {
      x,
      weight,
      strides: [1, 1],
      pad_type: padding === 0 ? "valid" : "custom",
      pad: [padding, padding, padding, padding],
      dilations: [1, 1],
      groups: 1,
    });
  }

  #finish(y: Value): MilFunction {
    return this.#builder.finish({ y });
  }

  /** [1, C, H, W] through `depth` layers. */
  chain(shape: ShapeOf<"conv1x1-chain">): MilFunction {
    const { channels, depth, spatial, int8, own_weights: isOwn } = shape;
    let value = this.#input([1, channels, ...gridOf(spatial)]);
    const numbers = this.#options.constants === "numbers" ? chainWeights(shape) : [];
    const kernel = [channels, channels, 1, 1];
    const make = (layer: number) => (): Float32Array =>
      numbers[layer] ?? new Float32Array(channels * channels);
    const shared = isOwn ? undefined : this.#weight(int8, kernel, make(0));
    if (int8 === "w8a8") value = this.#narrowed(value);
    for (let layer = 0; layer < depth; layer++) {
      value = this.#conv(value, shared ?? this.#weight(int8, kernel, make(layer)));
      if (int8 === "w8a8") value = this.#narrowed(value);
    }
    return this.#finish(value);
  }

  pointwise({ cin, cout, spatial, int8 }: ShapeOf<"conv1x1">): MilFunction {
    const x = this.#input([1, cin, ...gridOf(spatial)]);
    const weight = this.#weight(int8, [cout, cin, 1, 1], () => productWeights(cin * cout, cin));
    return this.#finish(this.#conv(x, weight));
  }

  convolution(shape: ShapeOf<"conv">): MilFunction {
    const { cin, cout, kernel, height, width, batch, depth, int8 } = shape;
    if (depth > 1 && cin !== cout) {
      throw new MeasureError(
        "measure.case",
        `a chain of ${depth} convolutions needs as many channels in as out, not ${cin} and ${cout}`,
      );
    }
    let value = this.#input([batch, cin, height, width]);
    const taps = kernel * kernel;
    for (let layer = 0; layer < depth; layer++) {
      const weight = this.#weight(int8, [cout, cin, kernel, kernel], () =>
        productWeights(cout * cin * taps, cin * taps, layer + 1),
      );
      value = this.#conv(value, weight, (kernel - 1) / 2);
    }
    return this.#finish(value);
  }

  /** [M, K] times [N, K] transposed, the layout that also takes int8. */
  product({ m, k, n, int8 }: ShapeOf<"gemm" | "gemv">): MilFunction {
    const x = this.#input([m, k]);
    const weight = this.#weight(int8, [n, k], () => productWeights(n * k, k));
    return this.#finish(
      this.#builder.op("matmul", { x, y: weight, transpose_x: false, transpose_y: true }),
    );
  }

  /** Four projections, heads split and joined, softmax over scaled scores; no mask. */
  attention({ seq, dim, heads }: ShapeOf<"self-attention">): MilFunction {
    const builder = this.#builder;
    const size = dim / heads;
    const x = this.#input([seq, dim]);
    const projected = (from: Value, seed: number): Value =>
      builder.op("matmul", {
        x: from,
        y: this.#constant([dim, dim], () => productWeights(dim * dim, dim, seed)),
        transpose_x: false,
        transpose_y: true,
      });
    const split = (seed: number): Value =>
      builder.op("transpose", {
        x: builder.op("reshape", { x: projected(x, seed), shape: [seq, heads, size] }),
        perm: [1, 0, 2],
      });
    const [query, key, value] = [split(1), split(2), split(3)];
    const scores = builder.op("mul", {
      x: builder.op("matmul", { x: query, y: key, transpose_x: false, transpose_y: true }),
      y: 1 / Math.sqrt(size),
    });
    const mixed = builder.op("matmul", {
      x: builder.op("softmax", { x: scores, axis: -1 }),
      y: value,
      transpose_x: false,
      transpose_y: false,
    });
    const joined = builder.op("reshape", {
      x: builder.op("transpose", { x: mixed, perm: [1, 0, 2] }),
      shape: [seq, dim],
    });
    return this.#finish(projected(joined, 4));
  }

  /** One op over [rows, width]; norms over the last axis. */
  single({ op, rows, width }: ShapeOf<"op">): MilFunction {
    const x = this.#input([rows, width]);
    return this.#finish(this.#applied(op, x, width));
  }

  #applied(op: string, x: Value, width: number): Value {
    const builder = this.#builder;
    switch (op) {
      case "relu":
      case "sigmoid":
        return builder.op(op, { x });
      case "gelu":
        return builder.op("gelu", { x, mode: "EXACT" });
      case "softmax":
        return builder.op("softmax", { x, axis: -1 });
      case "layer_norm":
        return builder.op("layer_norm", { x, axes: [-1], epsilon: EPSILON });
      case "reduce_sum":
        return builder.op("reduce_sum", { x, axes: [-1], keep_dims: true });
      case "rms_norm": {
        const length = builder.op("reduce_l2_norm", { x, axes: [-1], keep_dims: true });
        const unit = builder.op("real_div", {
          x,
          y: builder.op("maximum", { x: length, y: EPSILON }),
        });
        const gamma = this.#constant([1, width], () => fixedNormals(width, 5, Math.sqrt(width)));
        return builder.op("mul", { x: unit, y: gamma });
      }
      case "l2_norm": {
        const length = builder.op("reduce_l2_norm", { x, axes: [-1], keep_dims: true });
        return builder.op("real_div", { x, y: builder.op("maximum", { x: length, y: EPSILON }) });
      }
      default:
        throw new MeasureError("measure.case", `there is no program for op "${op}"`);
    }
  }
}

/** A constant of a type whose numbers stand elsewhere. */
function placeholder(type: ReturnType<typeof tensorType>): Literal {
  return Object.freeze({
    kind: "literal",
    type,
    data: Object.freeze({ kind: "blob", path: "@model_path/weights.bin", offset: 64 }),
  });
}

/** The fixed input of a program: normal numbers. */
export function fixedInput(shape: readonly number[]): Float32Array {
  return fixedNormals(elementCount(shape), 3, 1);
}
