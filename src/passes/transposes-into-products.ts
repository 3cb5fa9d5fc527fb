import type { Operand, Operation } from "../mil/program.ts";
import { operandOf, rankOf, scalarConstant } from "../mil/match.ts";
import { permutationOf } from "./merge-transposes.ts";
import { rewriting } from "./rewrite.ts";
import type { RewriteContext } from "./rewrite.ts";

/** Whether a transpose exchanges the last two axes and leaves the others. */
function swapsLastTwo(operation: Operation | undefined): boolean {
  const perm = permutationOf(operation);
  if (perm === undefined || perm.length < 2) return false;
  const last = perm.length - 1;
  return perm.every((axis, place) =>
    place === last ? axis === last - 1 : place === last - 1 ? axis === last : axis === place,
  );
}

function sourceOf(operand: Operand, { makerOf }: RewriteContext): Operand | undefined {
  const maker = makerOf(operand, "transpose");
  return swapsLastTwo(maker) ? operandOf(maker, "x") : undefined;
}

/** Transposed operands, and a transposed result, become the product's own flags. */
export const transposesIntoProducts = rewriting(
  "transposes into products",
  (operation, context) => {
    const { emit, call, makerOf, isReadOnce } = context;
    if (operation.type === "transpose") {
      const x = operandOf(operation, "x");
      const product = makerOf(x, "matmul");
      if (x === undefined || product === undefined || !isReadOnce(x) || !swapsLastTwo(operation))
        return undefined;
      const [left, right] = [operandOf(product, "x"), operandOf(product, "y")];
      if (left === undefined || right === undefined || rankOf(left) < 2 || rankOf(right) < 2)
        return undefined;
      // (A B)' = B' A'
      return emit.op("matmul", {
        x: right,
        y: left,
        transpose_x: !flag(product, "transpose_y"),
        transpose_y: !flag(product, "transpose_x"),
      });
    }
    if (operation.type !== "matmul") return undefined;
    const [x, y] = [call.operand("x"), call.operand("y")];
    const [left, right] = [sourceOf(x, context), sourceOf(y, context)];
    if (left === undefined && right === undefined) return undefined;
    return emit.op("matmul", {
      x: left ?? x,
      y: right ?? y,
      transpose_x: call.bool("transpose_x") !== (left !== undefined),
      transpose_y: call.bool("transpose_y") !== (right !== undefined),
    });
  },
);

const flag = (operation: Operation, name: string): boolean =>
  scalarConstant(operandOf(operation, name)) === 1;
