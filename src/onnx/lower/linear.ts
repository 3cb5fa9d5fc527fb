import { computeTypeOf } from "../element-types.ts";
import {
  FOREIGN_DOMAIN,
  FOREIGN_PRODUCT,
  FOREIGN_PRODUCT_SUM,
  foreignSizes,
} from "../foreign-products.ts";
import { MICROSOFT_DOMAIN } from "../graph-writer.ts";
import type { Lowering, LoweringSite } from "./site.ts";

/** The last two axes exchanged. */
export function transposeLast(site: LoweringSite, value: string, rank: number): string {
  const order = Array.from({ length: rank }, (_, axis) => axis);
  // A vector has no last two axes.
  if (rank >= 2) order.splice(rank - 2, 2, rank - 1, rank - 2);
  return site.transpose(value, order);
}

export interface Product {
  readonly x: string;
  readonly y: string;
  readonly xShape: readonly number[];
  readonly yShape: readonly number[];
  readonly transposeX: boolean;
  readonly transposeY: boolean;
  /** Factor of the product. */
  readonly alpha: number;
  /** Addend that broadcasts to the result. Only for products of two matrices. */
  readonly addend?: { readonly name: string; readonly shape: readonly number[] };
}

/** Whether a product is computed in fp32. */
const isFloat32 = (site: LoweringSite): boolean =>
  computeTypeOf(site.resultType().dataType) === "fp32";

/** A product as the node that computes it with the fewest copies: Gemm for matrices, FusedMatMul for stacks. */
export function lowerProduct(site: LoweringSite, product: Product): string {
  const { x, y, xShape, yShape, transposeX, transposeY, alpha, addend } = product;
  const isSingle = isFloat32(site);
  if (isSingle && site.hasForeignProducts) {
    const foreign = foreignProduct(site, product);
    if (foreign !== undefined) return foreign;
  }
  const attributes = {
    ...(transposeX && { transA: 1n }),
    ...(transposeY && { transB: 1n }),
    ...(alpha !== 1 && { alpha }),
  };
  if (isSingle && xShape.length === 2 && yShape.length === 2)
    return site.node("Gemm", addend === undefined ? [x, y] : [x, y, addend.name], attributes);
  const scaled = (value: string): string =>
    alpha === 1 ? value : site.node("Mul", [value, site.scalar(alpha, site.resultType().dataType)]);
  // A vector meets a matrix that is turned round: the same as the matrix as it is on the other side of the vector.
  // The runtime's fused form of the turn reads the vector wrongly.
  if ((xShape.length === 1 && transposeY) || (yShape.length === 1 && transposeX))
    return scaled(site.node("MatMul", [y, x]));
  if (isSingle && !site.isForOthers && (transposeX || transposeY || alpha !== 1))
    return site.node("FusedMatMul", [x, y], attributes, MICROSOFT_DOMAIN);
  const left = transposeX ? transposeLast(site, x, xShape.length) : x;
  const right = transposeY ? transposeLast(site, y, yShape.length) : y;
  return scaled(site.node("MatMul", [left, right]));
}

/** A product of two large matrices by whoever runs the graph. */
function foreignProduct(site: LoweringSite, product: Product): string | undefined {
  const { x, y, transposeX, transposeY, alpha, addend } = product;
  const sizes = foreignSizes(product);
  if (sizes === undefined) return undefined;
  const { m, n, k } = sizes;
  const isWhole = addend?.shape.length === 2 && addend.shape[0] === m && addend.shape[1] === n;
  const attributes = {
    ...{ m: BigInt(m), n: BigInt(n), k: BigInt(k) },
    ...{ transA: transposeX ? 1n : 0n, transB: transposeY ? 1n : 0n, alpha },
  };
  if (addend !== undefined && isWhole)
    return site.node(FOREIGN_PRODUCT_SUM, [x, y, addend.name], attributes, FOREIGN_DOMAIN);
  const result = site.node(FOREIGN_PRODUCT, [x, y], attributes, FOREIGN_DOMAIN);
  return addend === undefined ? result : site.node("Add", [result, addend.name]);
}

/** An operand of a product in the result's element type: constants may have another. */
export function productOperand(site: LoweringSite, name: string): string {
  const wanted = computeTypeOf(site.resultType().dataType);
  const value = site.value(name);
  return computeTypeOf(site.type(name)) === wanted ? value : site.cast(value, wanted);
}

export const LOWER_LINEAR = {
  matmul: (site) =>
    lowerProduct(site, {
      x: productOperand(site, "x"),
      y: productOperand(site, "y"),
      xShape: site.shape("x"),
      yShape: site.shape("y"),
      transposeX: site.call.bool("transpose_x"),
      transposeY: site.call.bool("transpose_y"),
      alpha: 1,
    }),
  linear: (site) => {
    const xShape = site.shape("x");
    const bias = site.has("bias") ? productOperand(site, "bias") : undefined;
    const product = lowerProduct(site, {
      x: site.value("x"),
      y: productOperand(site, "weight"),
      xShape,
      yShape: site.shape("weight"),
      transposeX: false,
      transposeY: true,
      alpha: 1,
      ...(bias !== undefined &&
        xShape.length === 2 && { addend: { name: bias, shape: site.shape("bias") } }),
    });
    const isAdded = bias === undefined || (xShape.length === 2 && isFloat32(site));
    return isAdded ? product : site.node("Add", [product, bias]);
  },
} as const satisfies Record<string, Lowering>;
