import { isConstexpr } from "../../mil/ops/index.ts";
import { foldedLiterals } from "../../mil/evaluate-operation.ts";
import { FunctionBuilder } from "../../mil/builder.ts";
import type { OpInputs } from "../../mil/op-row.ts";
import type { OPS, OpName } from "../../mil/ops/index.ts";
import { literalOf } from "../../mil/program.ts";
import type { Literal, Operand } from "../../mil/program.ts";
import { isPure } from "../../mil/traverse.ts";
import { elementCount, staticShape } from "../../mil/types.ts";
import type { TensorType } from "../../mil/types.ts";

/** Larger results of ops over constants are left to the program, so that conversion stays quick. */
const FOLDED_ELEMENTS = 2 ** 24;

export function isOperand(candidate: unknown): candidate is Operand {
  return (
    typeof candidate === "object" &&
    candidate !== null &&
    "kind" in candidate &&
    "type" in candidate &&
    !Array.isArray(candidate)
  );
}

/** The results as literals, where everything that decides them is known. */
export function foldConstants<Name extends OpName>(
  type: Name,
  inputs: OpInputs<(typeof OPS)[Name]>,
): readonly Literal[] | undefined {
  const isKnown = (argument: unknown): boolean =>
    !isOperand(argument) || literalOf(argument)?.data.kind === "numbers";
  const all = Object.values(inputs).flatMap((argument: unknown): unknown =>
    Array.isArray(argument) ? argument : [argument],
  );
  const isData = all.some(isOperand) || type === "fill" || type === "range_1d";
  if (!isData || !all.every(isKnown)) return undefined;
  const scratch = new FunctionBuilder("constants");
  const outputs = scratch.many(type, inputs);
  const [operation] = scratch.finish({}).operations;
  if (operation === undefined || !isPure(operation) || isConstexpr(type)) return undefined;
  const types = outputs.map((output) => output.type);
  const tensors = types.filter((one): one is TensorType => one.kind === "tensor");
  const size = tensors.reduce((sum, one) => sum + elementCount(staticShape(one)), 0);
  if (tensors.length < types.length || size > FOLDED_ELEMENTS) return undefined;
  return foldedLiterals(operation);
}
