import { opRow } from "../../mil/ops/index.ts";
import { isValue, operandsOf } from "../../mil/program.ts";
import type { MilFunction, Operation, Value } from "../../mil/program.ts";
import { sameType } from "../../mil/types.ts";

/** Ops that read element i of an operand of the result's shape before they write element i. */
function worksInPlace({ type }: Operation): boolean {
  const row = opRow(type);
  return row?.broadcasts === true || row?.kind === "view";
}

/**
 * Whether an output may stand on the memory of an input: nobody but the op that makes the output reads the
 * input, and that op works element by element (a fused product may add to it: Gemm with C on its result).
 */
export function mayStandOn(fn: MilFunction, output: Value, input: Value): boolean {
  let reads = 0;
  for (const operation of fn.operations) {
    let readsHere = 0;
    for (const operand of operandsOf(operation)) {
      if (isValue(operand) && operand === input) readsHere++;
    }
    if (readsHere === 0) continue;
    if (readsHere > 1 || !worksInPlace(operation)) return false;
    if (operation.outputs[0] !== output || !sameType(input.type, output.type)) return false;
    reads += readsHere;
  }
  return reads <= 1 && !fn.outputs.some((other) => other === input);
}
