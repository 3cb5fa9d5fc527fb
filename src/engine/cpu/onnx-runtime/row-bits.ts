import { FunctionBuilder } from "../../../mil/builder.ts";
import { elementCount, tensorType } from "../../../mil/types.ts";
import { Random } from "../../../util/random.ts";
import type { FunctionCompiler, TensorPlace } from "../compiler.ts";

/** More than a block of the runtime's sums, and no multiples of its tiles. */
const DEPTH = 300;
const COLUMNS = 205;
/** A single row, rows that fill no tile, and several tiles. */
const ROW_COUNTS = [1, 5, 32] as const;

/**
 * Whether products with a constant give a row the same bits whatever number of rows stands beside it. The runtime's kernels
 * do so on the processors that were looked at, and nothing promises it: this tries it out on this one.
 */
export async function keepsRowBits(compiler: FunctionCompiler): Promise<boolean> {
  const matrix = place("w", [COLUMNS, DEPTH], 3);
  const turned = place("w", [DEPTH, COLUMNS], 3);
  for (const w of [matrix, turned]) {
    let first: Uint32Array | undefined;
    for (const rowCount of ROW_COUNTS) {
      const rows = place("x", [rowCount, DEPTH], 5);
      const sums = await productOf(compiler, rows, w, rowCount);
      const bits = new Uint32Array(sums, 0, COLUMNS);
      first ??= bits;
      if (bits.some((pattern, index) => pattern !== first?.[index])) return false;
    }
  }
  return true;
}

async function productOf(
  compiler: FunctionCompiler,
  x: TensorPlace,
  w: TensorPlace,
  rowCount: number,
): Promise<TensorPlace["buffer"]> {
  const builder = new FunctionBuilder();
  const product = builder.op("matmul", {
    x: builder.input("x", tensorType("fp32", x.shape)),
    y: builder.input("w", tensorType("fp32", w.shape)),
    transpose_y: w.shape[0] === COLUMNS,
  });
  const compiled = await compiler.compile(builder.finish({ y: product }), {
    ...{ label: "products of a constant", spins: false, constants: [w] },
  });
  try {
    const y = place("y", [rowCount, COLUMNS]);
    const bound = compiled.bind([x, w], [y]);
    await bound.run();
    bound.release();
    return y.buffer;
  } finally {
    await compiled.release();
  }
}

/** Memory of a tensor; drawn numbers where a seed is given, zeros otherwise. */
function place(name: string, shape: readonly number[], seed?: number): TensorPlace {
  const numbers = new Float32Array(elementCount(shape));
  if (seed !== undefined) {
    const random = new Random(seed);
    for (let at = 0; at < numbers.length; at++) numbers[at] = random.normal();
  }
  const { buffer, byteLength } = numbers;
  return { name, shape, dataType: "fp32", buffer, byteOffset: 0, byteLength };
}
