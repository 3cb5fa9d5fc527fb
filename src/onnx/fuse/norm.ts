import type { Operand, Operation } from "../../mil/program.ts";
import { scalarConstant, operandOf } from "../../mil/match.ts";
import { SIDES, isFloat32, shapeOf } from "./operands.ts";
import type { FindFusion, Uses } from "./match.ts";

/** The other factor of a product where one of them is `factor`. */
function otherFactor(product: Operation, factor: Operand | undefined): Operand | undefined {
  const [x, y] = [operandOf(product, "x"), operandOf(product, "y")];
  if (x === factor) return y;
  return y === factor ? x : undefined;
}

/** The ops that make 1 / sqrt(mean(x^2) + epsilon) over the last axis of `x`, and `epsilon`. */
function scaleOf(
  scale: Operand | undefined,
  x: Operand,
  uses: Uses,
): { readonly inner: readonly Operation[]; readonly epsilon: number } | undefined {
  const root = uses.maker(scale, "rsqrt");
  const mean = root && uses.maker(operandOf(root, "x"), "reduce_mean");
  const square = mean && uses.maker(operandOf(mean, "x"), "mul");
  if (root === undefined || mean === undefined || square === undefined) return undefined;
  if (operandOf(square, "x") !== x || operandOf(square, "y") !== x) return undefined;
  const axis = scalarConstant(operandOf(mean, "axes"));
  if (axis !== -1 && axis !== shapeOf(x).length - 1) return undefined;
  if (scalarConstant(operandOf(mean, "keep_dims")) !== 1) return undefined;
  const epsilon = scalarConstant(operandOf(root, "epsilon"));
  return epsilon === undefined ? undefined : { inner: [root, mean, square], epsilon };
}

/** x / sqrt(mean(x^2) + epsilon) times a weight for each place of the last axis: one operator of the runtime's own. */
export const rootMeanSquareNorm: FindFusion = (root, uses) => {
  for (const [name, otherName] of SIDES) {
    const scaled = uses.maker(operandOf(root, name), "mul");
    const weight = operandOf(root, otherName);
    if (scaled === undefined || weight === undefined || !isFloat32(weight)) continue;
    for (const x of [operandOf(scaled, "x"), operandOf(scaled, "y")]) {
      if (x === undefined || !isFloat32(x)) continue;
      const [width] = shapeOf(weight);
      if (shapeOf(weight).length !== 1 || width !== shapeOf(x).at(-1)) continue;
      const found = scaleOf(otherFactor(scaled, x), x, uses);
      if (found === undefined) continue;
      return {
        inner: [scaled, ...found.inner],
        emit: (site, give) => {
          const [result] = root.outputs;
          const { epsilon } = found;
          if (result !== undefined)
            give(
              result,
              site.node("SimplifiedLayerNormalization", [site.of(x), site.of(weight)], {
                ...{ axis: -1n, epsilon, stash_type: 1n },
              }),
            );
        },
      };
    }
  }
  return undefined;
};
