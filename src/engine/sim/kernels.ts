import { evaluateOperation } from "../../mil/evaluate-operation.ts";
import { hostTensorOfLiteral } from "../../mil/host-tensor.ts";
import type { HostTensor } from "../../mil/host-tensor.ts";
import { OpCall } from "../../mil/op-call.ts";
import type { CallEnvironment } from "../../mil/op-call.ts";
import { opRow } from "../../mil/ops/index.ts";
import { literalOf, operandsOf } from "../../mil/program.ts";
import type { Operation } from "../../mil/program.ts";
import { isFloat, staticShape } from "../../mil/types.ts";
import type { SimContext, SimKernel } from "./context.ts";
import { elementwise, holdsHalves } from "./elementwise.ts";
import { HalfTensor } from "./half-tensor.ts";
import { moves } from "./moves.ts";
import { products } from "./products.ts";
import { quantization } from "./quantization.ts";
import { reductions } from "./reductions.ts";
import { roundToHalf, roundToSingle } from "./rounding.ts";

/** Ops with a kernel of their own on the engine; others take the evaluation of their row, rounded. */
const KERNELS: Readonly<Record<string, SimKernel>> = {
  ...elementwise,
  ...moves,
  ...products,
  ...quantization,
  ...reductions,
};

/** One op. Results on the engine are fp16 numbers whatever type the program declares. */
export function simulateOperation(
  operation: Operation,
  environment: CallEnvironment,
  context: SimContext,
): readonly HostTensor[] {
  return (
    (context.place === "engine" ? runKernel(operation, environment, context) : undefined) ??
    evaluate(operation, environment, context)
  );
}

function runKernel(
  operation: Operation,
  environment: CallEnvironment,
  context: SimContext,
): readonly HostTensor[] | undefined {
  const { type } = operation;
  const row = opRow(type);
  if (row === undefined) return undefined;
  if (row.kind === "view") return reshape(operation, new OpCall(operation, row, environment));
  const kernel = Object.hasOwn(KERNELS, type) ? KERNELS[type] : undefined;
  return kernel?.(new OpCall(operation, row, environment), context);
}

/** The same numbers; nothing for what does not stand in the arena or is of unknown shape. */
function reshape({ outputs }: Operation, call: OpCall): readonly HostTensor[] | undefined {
  const x = call.tensor("x");
  const type = outputs[0]?.type;
  if (!(x instanceof HalfTensor) || type?.kind !== "tensor") return undefined;
  if (type.shape.includes("?")) return undefined;
  return [x.share(staticShape(type))];
}

function evaluate(
  operation: Operation,
  environment: CallEnvironment,
  context: SimContext,
): readonly HostTensor[] {
  const results = evaluateOperation(operation, environment, "float64");
  const isClamped = context.clampSlices && operation.type.startsWith("slice_by_");
  if (isClamped) clampSlice(operation, environment, results);
  const isRounded = context.place === "engine" && movesRounded(operation);
  return results.map((result) => {
    if (result instanceof HalfTensor) return result.share();
    if (!isRounded) round(result, context);
    return result;
  });
}

/** Ops that only move numbers keep them rounded; scalars may have more digits than fp16 has. */
function movesRounded(operation: Operation): boolean {
  const numbersOf = opRow(operation.type)?.numbersOf;
  if (numbersOf !== "operands") return numbersOf === "x";
  return [...operandsOf(operation)].every((operand) => {
    const literal = literalOf(operand);
    return literal?.data.kind !== "numbers" || holdsHalves(hostTensorOfLiteral(literal));
  });
}

/** Rounds floats in place. Results of ops are fresh arrays, or those of an operand that is rounded already. */
function round(tensor: HostTensor, { place, arithmetic }: SimContext): void {
  if (!isFloat(tensor.dataType)) return;
  if (place === "engine") roundToHalf(tensor.data, arithmetic["elementwise.rounding"]);
  else if (tensor.dataType === "fp32") roundToSingle(tensor.data);
  else if (tensor.dataType === "fp16") roundToHalf(tensor.data, "half-even");
}

const SLICE_LIMIT = 4094;

function clampSlice(
  operation: Operation,
  environment: CallEnvironment,
  results: readonly HostTensor[],
): void {
  const row = opRow(operation.type);
  if (row === undefined) return;
  const call = new OpCall(operation, row, environment);
  if ((call.ints("begin").at(-1) ?? 0) === 0) return;
  for (const { data } of results) {
    for (let i = 0; i < data.length; i++) {
      const value = data[i] ?? 0;
      if (Math.abs(value) > SLICE_LIMIT) data[i] = value < 0 ? -Infinity : Infinity;
    }
  }
}
