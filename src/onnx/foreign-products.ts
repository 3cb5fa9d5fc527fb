import { OpCall } from "../mil/op-call.ts";
import { opRow } from "../mil/ops/index.ts";
import type { MilFunction } from "../mil/program.ts";
import { computeTypeOf } from "./element-types.ts";

/** Operators of no standard, for whoever runs a graph to bring: products of fp32 matrices. */
export const FOREIGN_DOMAIN = "anecdote.products";
/** alpha A B, with `m`, `n`, `k`, `transA`, `transB` and `alpha` as attributes. */
export const FOREIGN_PRODUCT = "Product";
/** alpha A B + C, where C is [m, n]; the result may stand on C. */
export const FOREIGN_PRODUCT_SUM = "ProductSum";

/** Below this the call of a foreign function takes a share of the product's time that can be seen. */
const SMALLEST_FLOPS = 1 << 22;
/** Matrices with a side shorter than this are no work for tiles of registers. */
const SHORTEST_SIDE = 16;

export interface ProductSizes {
  readonly m: number;
  readonly n: number;
  readonly k: number;
}

/** Sizes of a product of two matrices that is large enough for another library than the runtime's. */
export function foreignSizes({
  xShape,
  yShape,
  transposeX,
  transposeY,
}: {
  readonly xShape: readonly number[];
  readonly yShape: readonly number[];
  readonly transposeX: boolean;
  readonly transposeY: boolean;
}): ProductSizes | undefined {
  const [rows, columns] = xShape;
  const [height, width] = yShape;
  if (xShape.length !== 2 || yShape.length !== 2) return undefined;
  const [m = 0, k = 0] = transposeX ? [columns, rows] : [rows, columns];
  const n = (transposeY ? height : width) ?? 0;
  const isWorth = Math.min(m, n, k) >= SHORTEST_SIDE && 2 * m * n * k >= SMALLEST_FLOPS;
  return isWorth ? { m, n, k } : undefined;
}

/** How many ops of a function become operators of this kind, where the runtime has them. */
export function foreignProductCount({ operations }: MilFunction): number {
  return operations.filter((operation) => {
    const row = opRow(operation.type);
    const names = OPERANDS[operation.type];
    if (row === undefined || names === undefined) return false;
    const call = new OpCall(operation, row);
    if (!names.every((name) => computeTypeOf(call.dataType(name)) === "fp32")) return false;
    const [xShape = [], yShape = []] = names.map((name) => call.staticShape(name));
    const isLinear = operation.type === "linear";
    const transposeX = !isLinear && call.bool("transpose_x");
    const transposeY = isLinear || call.bool("transpose_y");
    return foreignSizes({ xShape, yShape, transposeX, transposeY }) !== undefined;
  }).length;
}

const OPERANDS: Readonly<Record<string, readonly string[]>> = {
  matmul: ["x", "y"],
  linear: ["x", "weight"],
};
