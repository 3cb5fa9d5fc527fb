import { foldedLiterals } from "../mil/evaluate-operation.ts";
import { int32sLiteral } from "../mil/literal.ts";
import { flopsOf, isConstexpr, opRow } from "../mil/ops/index.ts";
import { literalOf, operandsOf } from "../mil/program.ts";
import type { Operation } from "../mil/program.ts";
import { isPure } from "../mil/traverse.ts";
import { elementCount, isFloat } from "../mil/types.ts";
import { UNSUPPORTED_OPS } from "../chip/legality/unsupported-ops.ts";
import { knownShape, operandOf } from "../mil/match.ts";
import { rewriting } from "../passes/rewrite.ts";

/** Results and work up to these are done before a program is written for the engine. */
const MOST_ELEMENTS = 2 ** 22;
const MOST_WORK = 2 ** 24;

/**
 * Ops of constants alone that the engine cannot do become constants: arithmetic on integers and bools, sizes, and
 * what its compiler refuses. Others are left to it.
 */
export const foldHostConstants = rewriting("fold what the engine cannot", (operation, { emit }) => {
  if (operation.type === "shape") {
    const sizes = knownShape(operandOf(operation, "x"));
    const [output] = operation.outputs;
    const isInt32 = output?.type.kind === "tensor" && output.type.dataType === "int32";
    return sizes === undefined || !isInt32 ? undefined : emit.constant(int32sLiteral(sizes));
  }
  if (!isFolded(operation)) return undefined;
  return foldedLiterals(operation).map((literal) => emit.constant(literal));
});

function isFolded(operation: Operation): boolean {
  const { type, outputs, blocks } = operation;
  const row = opRow(type);
  const isForEngine =
    !Object.hasOwn(UNSUPPORTED_OPS, type) &&
    type !== "cast" &&
    outputs.every((output) => output.type.kind === "tensor" && isFloat(output.type.dataType));
  if (row?.evaluate === undefined || isForEngine || blocks.length > 0 || !isPure(operation))
    return false;
  if (type === "const" || type === "fill" || isConstexpr(type)) return false;
  for (const operand of operandsOf(operation)) {
    const kind = literalOf(operand)?.data.kind;
    if (kind !== "numbers" && kind !== "strings") return false;
  }
  for (const output of outputs) {
    const shape = knownShape(output);
    if (shape === undefined || elementCount(shape) > MOST_ELEMENTS) return false;
  }
  return flopsOf(operation) <= MOST_WORK;
}
