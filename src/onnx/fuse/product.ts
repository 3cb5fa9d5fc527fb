import type { Operand, Operation } from "../../mil/program.ts";
import { lowerProduct } from "../lower/linear.ts";
import type { LoweringSite } from "../lower/site.ts";
import { scalarConstant, operandOf } from "../../mil/match.ts";
import { SIDES, flagOf, isFloat32, shapeOf } from "./operands.ts";
import type { FindFusion } from "./match.ts";

/** Whether a tensor broadcasts to [rows, columns] by Gemm's rules, without changing that shape. */
function fitsAddend(shape: readonly number[], rows: number, columns: number): boolean {
  if (shape.length > 2) return false;
  const [height, width] = shape.length === 2 ? shape : [1, shape[0] ?? 1];
  return (height === rows || height === 1) && (width === columns || width === 1);
}

interface ProductOperands {
  readonly x: Operand;
  readonly y: Operand;
}

function operandsOfProduct(product: Operation): ProductOperands | undefined {
  const x = operandOf(product, "x");
  const y = operandOf(product, "y");
  return x !== undefined && y !== undefined && isFloat32(x) && isFloat32(y) ? { x, y } : undefined;
}

function emitProduct(
  site: LoweringSite,
  product: Operation,
  { x, y }: ProductOperands,
  alpha: number,
  addend?: Operand,
): string {
  return lowerProduct(site, {
    x: site.of(x),
    y: site.of(y),
    xShape: shapeOf(x),
    yShape: shapeOf(y),
    transposeX: flagOf(product, "transpose_x"),
    transposeY: flagOf(product, "transpose_y"),
    alpha,
    ...(addend !== undefined && { addend: { name: site.of(addend), shape: shapeOf(addend) } }),
  });
}

/** matmul of two matrices plus something (a bias, a residual, what an output accumulates to): one Gemm. */
export const addProduct: FindFusion = (root, uses) => {
  for (const [name, otherName] of SIDES) {
    const product = uses.maker(operandOf(root, name), "matmul");
    const addend = operandOf(root, otherName);
    if (product === undefined || addend === undefined || !isFloat32(addend)) continue;
    const operands = operandsOfProduct(product);
    const [result] = product.outputs;
    if (operands === undefined || result === undefined || addend === result) continue;
    if (shapeOf(operands.x).length !== 2 || shapeOf(operands.y).length !== 2) continue;
    const [rows = 1, columns = 1] = shapeOf(result);
    if (!fitsAddend(shapeOf(addend), rows, columns)) continue;
    return {
      inner: [product],
      emit: (site, give) => {
        const [sum] = root.outputs;
        if (sum !== undefined) give(sum, emitProduct(site, product, operands, 1, addend));
      },
    };
  }
  return undefined;
};

/** matmul times a constant number: the product's alpha. */
export const scaledProduct: FindFusion = (root, uses) => {
  for (const [name, otherName] of SIDES) {
    const product = uses.maker(operandOf(root, name), "matmul");
    const factor = operandOf(root, otherName);
    const alpha = scalarConstant(factor);
    if (product === undefined || factor === undefined || alpha === undefined) continue;
    const operands = operandsOfProduct(product);
    if (operands === undefined) continue;
    if (shapeOf(factor).length > shapeOf(operands.x).length) continue;
    if (shapeOf(operands.x).length < 2 || shapeOf(operands.y).length < 2) continue;
    // The runtime reads the right operand of a single row where it stands, but with a factor it packs all of it first.
    if (shapeOf(operands.x).at(-2) === 1 && !flagOf(product, "transpose_x")) continue;
    return {
      inner: [product],
      emit: (site, give) => {
        const [scaled] = root.outputs;
        if (scaled !== undefined) give(scaled, emitProduct(site, product, operands, alpha));
      },
    };
  }
  return undefined;
};
