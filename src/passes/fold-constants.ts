import { literalOf, operandsOf } from "../mil/program.ts";
import { foldedLiterals } from "../mil/evaluate-operation.ts";
import { flopsOf, isConstexpr, opRow } from "../mil/ops/index.ts";
import type { Operation } from "../mil/program.ts";
import { isPure } from "../mil/traverse.ts";
import { elementCount } from "../mil/types.ts";
import { knownShape } from "../mil/match.ts";
import { rewriting } from "./rewrite.ts";

/** Larger results are left to the engine: the program's text and every engine's copy of it would grow. */
const LARGEST_RESULT = 4096;
/** Work that is done at once instead of at every run. */
const LARGEST_WORK = 1 << 20;

/** Ops of constants alone become constants, where the result is small. */
export const foldConstants = rewriting("fold constants", (operation, { emit }) => {
  if (!isFoldable(operation)) return undefined;
  return foldedLiterals(operation).map((literal) => emit.constant(literal));
});

function isFoldable(operation: Operation): boolean {
  const row = opRow(operation.type);
  if (row?.evaluate === undefined || !isPure(operation) || operation.blocks.length > 0)
    return false;
  // Compressed weights stay compressed.
  if (isConstexpr(operation.type)) return false;
  let operandElements = 0;
  for (const operand of operandsOf(operation)) {
    const literal = literalOf(operand);
    if (literal === undefined) return false;
    if (literal.data.kind === "strings") continue;
    if (literal.data.kind !== "numbers") return false;
    operandElements += literal.data.numbers.length;
  }
  let resultElements = 0;
  for (const output of operation.outputs) {
    const shape = knownShape(output);
    if (shape === undefined) return false;
    resultElements += elementCount(shape);
  }
  // A short op that makes a long constant (fill, tile) is the better text.
  if (resultElements > LARGEST_RESULT || resultElements > Math.max(64, operandElements))
    return false;
  return flopsOf(operation) <= LARGEST_WORK;
}
