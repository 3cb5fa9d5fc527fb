import { flopsOf } from "../mil/ops/index.ts";
import type { MilFunction, Value } from "../mil/program.ts";
import { byteLengthOf } from "../mil/types.ts";

/** What one execution of a function takes, read off its text. */
export interface FunctionCost {
  /** Ops that compute something: constants excepted. */
  readonly operationCount: number;
  /** Floating-point operations by the op table's counts. */
  readonly flops: number;
  /** Bytes of baked-in constants. */
  readonly constantByteLength: number;
  /** The largest value that is neither input, output nor constant. */
  readonly largestIntermediate: { readonly name: string; readonly byteLength: number } | undefined;
}

export function functionCost(fn: MilFunction): FunctionCost {
  const outside = new Set<Value>([...fn.inputs, ...fn.outputs]);
  let operationCount = 0;
  let flops = 0;
  let constantByteLength = 0;
  let largestIntermediate: { name: string; byteLength: number } | undefined;
  for (const operation of fn.operations) {
    const isConstant = operation.type === "const";
    if (!isConstant) {
      operationCount++;
      flops += flopsOf(operation);
    }
    for (const output of operation.outputs) {
      if (output.type.kind !== "tensor" || output.type.shape.includes("?")) continue;
      const byteLength = byteLengthOf(output.type);
      if (isConstant) constantByteLength += byteLength;
      else if (!outside.has(output) && byteLength > (largestIntermediate?.byteLength ?? 0))
        largestIntermediate = { name: output.name, byteLength };
    }
  }
  return { operationCount, flops, constantByteLength, largestIntermediate };
}
