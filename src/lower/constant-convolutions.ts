import { numericLiteral } from "../mil/literal.ts";
import type { FunctionBuilder } from "../mil/builder.ts";
import { literalOf } from "../mil/program.ts";
import type { Literal, NumericData, Operand, Value } from "../mil/program.ts";
import { elementCount, tensorType } from "../mil/types.ts";
import { familyIndex } from "../chip/chip.ts";
import type { Chip, Driver } from "../chip/chip.ts";
import { knownShape, operandOf } from "../mil/match.ts";
import { rewriting } from "../passes/rewrite.ts";
import type { Pass } from "../passes/rewrite.ts";

/** Rule `conv-input-channels`. */
const MOST_INPUT_CHANNELS = 16384;
/** Rule `channels`. */
const MOST_OUTPUT_CHANNELS = 65536;
/** Narrower lanes fail through the in-memory path (0x9, 0x1d) and leave the array empty everywhere. */
const FEWEST_POSITIONS = 32;
/** A product with a vector or two is a sum: it does not pay for the exchange of its axes. */
const FEWEST_OUTPUT_CHANNELS = 4;
/** Rules `few-channels` and `wide-ffn`, in-memory only. */
const IN_MEMORY_CHANNELS = { fewest: 64, most: 4096 } as const;

/**
 * Products of activations with a constant weight as 1x1 convolutions over [1, C, 1, S]: the form in which the
 * engine's array is fed without waiting for a second operand. Weights that are inputs stay `matmul`; so do
 * shapes that break a rule as a convolution. The transposes around a convolution are left to `sinkTransposes`.
 */
export function constantConvolutions(chip: Chip, driver: Driver): Pass {
  const longest = familyIndex(chip.family) >= familyIndex("H16") ? 65536 : 16384;
  const fits = (positions: number, inner: number, outer: number): boolean => {
    if (positions < FEWEST_POSITIONS || positions > longest) return false;
    if (outer < FEWEST_OUTPUT_CHANNELS) return false;
    if (inner > MOST_INPUT_CHANNELS || outer > MOST_OUTPUT_CHANNELS) return false;
    // The result is [S, C] again in the end, where C is an ordinary axis.
    if (outer > longest || inner > longest) return false;
    const { fewest, most } = IN_MEMORY_CHANNELS;
    return driver !== "in-memory" || (inner >= fewest && Math.max(inner, outer) <= most);
  };
  return rewriting("constant weights as 1x1 convolutions", (operation, { emit, call }) => {
    const isLinear = operation.type === "linear";
    if (!isLinear && operation.type !== "matmul") return undefined;
    const x = operandOf(operation, "x");
    const weight = operandOf(operation, isLinear ? "weight" : "y");
    const shape = knownShape(x);
    if (x?.kind !== "value" || x.constant !== undefined || weight === undefined) return undefined;
    const literal = literalOf(weight);
    const columns =
      literal === undefined ? undefined : weightRows(literal, isLinear || call.bool("transpose_y"));
    if (shape === undefined || shape.length < 2 || columns === undefined) return undefined;
    const swapped = !isLinear && call.bool("transpose_x");
    if (swapped && shape.length !== 2) return undefined;
    const inner = (swapped ? shape[0] : shape.at(-1)) ?? 0;
    const positions = elementCount(shape) / inner;
    const [outer = 0, weightInner] = columns.shape;
    if (weightInner !== inner || !fits(positions, inner, outer)) return undefined;
    const channels = swapped ? x : transposed(emit, reshaped(emit, x, [positions, inner]));
    const product = emit.op("conv", {
      x: reshaped(emit, channels, [1, inner, 1, positions]),
      weight: emit.constant(columns.literal),
      strides: [1, 1],
      pad_type: "valid",
      pad: [0, 0, 0, 0],
      dilations: [1, 1],
      groups: 1,
    });
    const rows = transposed(emit, reshaped(emit, product, [outer, positions]));
    const result = reshaped(emit, rows, [...(swapped ? [positions] : shape.slice(0, -1)), outer]);
    const bias = isLinear && call.has("bias") ? call.operand("bias") : undefined;
    return bias === undefined || isZero(bias) ? result : emit.op("add", { x: result, y: bias });
  });
}

/** A constant matrix as [outputs, inputs, 1, 1]; nothing where its numbers are not at hand. */
function weightRows(
  literal: Literal,
  isTransposed: boolean,
): { readonly literal: Literal; readonly shape: readonly number[] } | undefined {
  const { type, data } = literal;
  if (type.kind !== "tensor" || type.shape.length !== 2) return undefined;
  const [first, second] = type.shape;
  if (typeof first !== "number" || typeof second !== "number") return undefined;
  if (isTransposed) {
    const kernel = tensorType(type.dataType, [first, second, 1, 1]);
    return { literal: { ...literal, type: kernel }, shape: [first, second] };
  }
  if (data.kind !== "numbers" || type.dataType !== "fp16") return undefined;
  const numbers = transposedNumbers(data.numbers, first, second);
  return {
    literal: numericLiteral(tensorType(type.dataType, [second, first, 1, 1]), numbers),
    shape: [second, first],
  };
}

function transposedNumbers(numbers: NumericData, rows: number, columns: number): Float32Array {
  const result = new Float32Array(numbers.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      result[column * rows + row] = Number(numbers[row * columns + column]);
    }
  }
  return result;
}

function isZero(operand: Operand): boolean {
  const data = literalOf(operand)?.data;
  return (
    data?.kind === "numbers" && Array.from(data.numbers, Number).every((number) => number === 0)
  );
}

function reshaped(emit: FunctionBuilder, x: Value, shape: readonly number[]): Value {
  const known = knownShape(x);
  return known?.join() === shape.join() ? x : emit.op("reshape", { x, shape });
}

function transposed(emit: FunctionBuilder, x: Value): Value {
  return emit.op("transpose", { x, perm: [1, 0] });
}
