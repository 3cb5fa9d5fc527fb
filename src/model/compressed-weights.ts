import { numericLiteral, tensorLiteral } from "../mil/literal.ts";
import type { FunctionBuilder } from "../mil/builder.ts";
import type { Value } from "../mil/program.ts";
import { elementCount, staticShape, tensorType } from "../mil/types.ts";
import { ModelError } from "./errors.ts";
import { weightIdentifier } from "./stage-inliner.ts";
import type { WeightWriter } from "./stage-inliner.ts";
import type { WeightSpec } from "./weights.ts";
import { LARGEST_FLOAT16 } from "../util/float16.ts";

/**
 * How a Core ML package holds a model's matrices. float16: as they are. int8: codes with a scale for each row. palette4:
 * 4-bit indices into 16 numbers, of their own for every 16 rows.
 */
export const PACKAGE_TYPES = ["float16", "int8", "palette4"] as const;
export type PackageType = (typeof PACKAGE_TYPES)[number];

const ROWS_A_PALETTE = 16;
const PALETTE_SIZE = 16;
/** Steps of the histogram that palettes are found on, and rounds of finding them. */
const BIN_COUNT = 2_048;
const ROUND_COUNT = 80;

/** Puts weights into a function as fp16 constants, matrices compressed. Throws `ModelError` for numbers beyond fp16. */
export function packageWeights(
  type: PackageType,
  numbersOf: (name: string) => Float32Array,
): WeightWriter {
  return (builder, weight, wanted) => {
    const shape = staticShape(wanted);
    const numbers = numbersOf(weight.name).subarray(0, elementCount(shape));
    requireFloat16(weight, numbers);
    const name = weightIdentifier(weight);
    const isMatrix = shape.length === 2 && weight.decays;
    if (!isMatrix || type === "float16")
      return builder.constant(tensorLiteral("fp16", shape, numbers), name);
    return type === "int8"
      ? scaledRows(builder, name, shape, numbers)
      : palettes(builder, name, shape, numbers);
  };
}

function requireFloat16({ name }: WeightSpec, numbers: Float32Array): void {
  const large = numbers.find((number) => !(Math.abs(number) <= LARGEST_FLOAT16));
  if (large === undefined) return;
  throw new ModelError(
    "model.weights.float16",
    `weight "${name}" has ${large}, fp16 ends at ${LARGEST_FLOAT16}`,
  );
}

type Shape = readonly number[];

function scaledRows(
  builder: FunctionBuilder,
  name: string,
  shape: Shape,
  numbers: Float32Array,
): Value {
  const [rows = 1, columns = 1] = shape;
  const codes = new Int8Array(numbers.length);
  const scales = new Float32Array(rows);
  for (let row = 0; row < rows; row++) {
    const members = numbers.subarray(row * columns, (row + 1) * columns);
    let largest = 0;
    for (const member of members) largest = Math.max(largest, Math.abs(member));
    const literal = tensorLiteral("fp16", [1], [largest / 127]);
    const scale = literal.data.kind === "numbers" ? Number(literal.data.numbers[0]) : 0;
    scales[row] = scale;
    members.forEach((member, column) => {
      const code = scale === 0 ? 0 : Math.round(member / scale);
      codes[row * columns + column] = Math.min(127, Math.max(-127, code));
    });
  }
  return builder.op(
    "constexpr_blockwise_shift_scale",
    {
      data: numericLiteral(tensorType("int8", shape), codes),
      scale: tensorLiteral("fp16", [rows, 1], scales),
    },
    { name },
  );
}

function palettes(
  builder: FunctionBuilder,
  name: string,
  shape: Shape,
  numbers: Float32Array,
): Value {
  const [rows = 1, columns = 1] = shape;
  const group = rows % ROWS_A_PALETTE === 0 ? ROWS_A_PALETTE : rows;
  const groupCount = rows / group;
  const indices = new Uint8Array(numbers.length);
  const tables = new Float32Array(groupCount * PALETTE_SIZE);
  for (let index = 0; index < groupCount; index++) {
    const [start, end] = [index * group * columns, (index + 1) * group * columns];
    const members = numbers.subarray(start, end);
    const palette = paletteOf(members);
    tables.set(palette, index * PALETTE_SIZE);
    assign(members, palette, indices.subarray(start, end));
  }
  return builder.op(
    "constexpr_lut_to_dense",
    {
      indices: numericLiteral(tensorType("uint4", shape), indices),
      lut: tensorLiteral("fp16", [groupCount, 1, PALETTE_SIZE, 1], tables),
    },
    { name },
  );
}

/** Sixteen numbers, ascending, near which the others lie: k-means on a histogram, begun at equal shares. */
export function paletteOf(numbers: Float32Array): Float32Array {
  let low = Infinity;
  let high = -Infinity;
  for (const number of numbers) {
    low = Math.min(low, number);
    high = Math.max(high, number);
  }
  const palette = new Float32Array(PALETTE_SIZE).fill(low);
  if (!(high > low)) return palette;
  const counts = new Float64Array(BIN_COUNT);
  const sums = new Float64Array(BIN_COUNT);
  const perBin = BIN_COUNT / (high - low);
  for (const number of numbers) {
    const bin = Math.min(BIN_COUNT - 1, Math.floor((number - low) * perBin));
    counts[bin] = (counts[bin] ?? 0) + 1;
    sums[bin] = (sums[bin] ?? 0) + number;
  }
  let passed = 0;
  let next = 0;
  for (let bin = 0; bin < BIN_COUNT && next < PALETTE_SIZE; bin++) {
    passed += counts[bin] ?? 0;
    const count = counts[bin] ?? 0;
    while (next < PALETTE_SIZE && passed >= ((next + 0.5) * numbers.length) / PALETTE_SIZE)
      palette[next++] = count === 0 ? low : (sums[bin] ?? 0) / count;
  }
  for (let round = 0; round < ROUND_COUNT; round++) {
    const total = new Float64Array(PALETTE_SIZE);
    const weight = new Float64Array(PALETTE_SIZE);
    let entry = 0;
    for (let bin = 0; bin < BIN_COUNT; bin++) {
      const count = counts[bin] ?? 0;
      if (count === 0) continue;
      const mean = (sums[bin] ?? 0) / count;
      while (entry < PALETTE_SIZE - 1 && isNearer(palette, entry + 1, mean)) entry++;
      total[entry] = (total[entry] ?? 0) + (sums[bin] ?? 0);
      weight[entry] = (weight[entry] ?? 0) + count;
    }
    for (let at = 0; at < PALETTE_SIZE; at++)
      if ((weight[at] ?? 0) > 0) palette[at] = (total[at] ?? 0) / (weight[at] ?? 1);
    palette.sort();
  }
  return palette;
}

/** Whether `number` is at least as near to this entry as to the one below. */
function isNearer(palette: Float32Array, entry: number, number: number): boolean {
  return number >= ((palette[entry - 1] ?? 0) + (palette[entry] ?? 0)) / 2;
}

function assign(numbers: Float32Array, palette: Float32Array, indices: Uint8Array): void {
  numbers.forEach((number, at) => {
    let [low, high] = [0, PALETTE_SIZE - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (isNearer(palette, middle, number)) low = middle;
      else high = middle - 1;
    }
    indices[at] = low;
  });
}
