import { MilError } from "./errors.ts";
import { copyNumbers, hostTensor, hostTensorOfLiteral, roundTo } from "./host-tensor.ts";
import type { HostTensor } from "./host-tensor.ts";
import { allocateNumbers, numericLiteral } from "./literal.ts";
import { OpCall } from "./op-call.ts";
import type { CallEnvironment } from "./op-call.ts";
import { opRow } from "./ops/index.ts";
import { formatShape, typeFits } from "./ops/dimensions.ts";
import { literalOf } from "./program.ts";
import type { Literal, Operand, Operation, Value } from "./program.ts";
import { isFloat, tensorType } from "./types.ts";
import type { DataType } from "./types.ts";

/**
 * `declared` rounds every result to the type the program declares; `float64` keeps every float in double
 * precision, casts between floats included. Integers wrap in both.
 */
export type Precision = "declared" | "float64";

/**
 * Runs one op through its row's slow and obvious evaluation.
 * Throws `MilError` for an op outside the table, one without evaluation, inputs that break its rules and
 * results that are not of the declared type.
 */
export function evaluateOperation(
  operation: Operation,
  environment: CallEnvironment,
  precision: Precision = "declared",
): readonly HostTensor[] {
  const row = opRow(operation.type);
  if (row?.evaluate === undefined) {
    throw new MilError(
      "mil.op.evaluate",
      `${describe(operation)} cannot be evaluated: ${row === undefined ? "the op table has no such op" : "the op table has no evaluation for it"}`,
    );
  }
  const results = row.evaluate(new OpCall(operation, row, environment));
  if (results.length !== operation.outputs.length) {
    throw new MilError(
      "mil.op.results",
      `${describe(operation)} has ${results.length} results, the program declares ${operation.outputs.length}`,
    );
  }
  return operation.outputs.map((output, index) => {
    const result = results[index];
    if (result === undefined) throw new MilError("mil.op.results", describe(operation));
    checkResult(operation, output, result);
    return roundTensor(result, precision);
  });
}

/**
 * `evaluateOperation` over constants, and what `known` tells of other operands. Throws `MilError` `mil.op.constant`
 * where more is read.
 */
export function evaluateConstants(
  operation: Operation,
  known: (operand: Operand) => HostTensor | undefined = () => undefined,
): readonly HostTensor[] {
  const never = (): never => {
    throw new MilError("mil.op.constant", `${describe(operation)} reads more than constants`);
  };
  return evaluateOperation(operation, {
    resolve: (operand) => {
      const literal = literalOf(operand);
      return literal?.data.kind === "numbers"
        ? hostTensorOfLiteral(literal)
        : (known(operand) ?? never());
    },
    runBlock: never,
    writeState: never,
  });
}

/** `evaluateConstants` as literals. */
export function foldedLiterals(operation: Operation): readonly Literal[] {
  return evaluateConstants(operation).map((result) => {
    const numbers = allocateNumbers(result.dataType, result.data.length);
    copyNumbers(result, numbers);
    return numericLiteral(tensorType(result.dataType, result.shape), numbers);
  });
}

/** A tensor with every number rounded to what its type holds; in `float64` floats stay as they are. */
export function roundTensor(tensor: HostTensor, precision: Precision): HostTensor {
  const { dataType, shape, data } = tensor;
  if (dataType === "fp64" || dataType === "string") return tensor;
  if (isFloat(dataType) && precision === "float64") return tensor;
  return { ...tensor, ...hostTensor(dataType, shape, roundNumbers(dataType, data)) };
}

function roundNumbers(dataType: DataType, data: Float64Array): Float64Array {
  if (dataType === "fp32") return Float64Array.from(Float32Array.from(data));
  return data.map((value) => roundTo(dataType, value));
}

function checkResult(operation: Operation, output: Value, result: HostTensor): void {
  const { type } = output;
  if (type.kind !== "tensor") return;
  const { dataType, shape } = result;
  if (!typeFits(tensorType(dataType, shape), type)) {
    throw new MilError(
      "mil.op.results",
      `${describe(operation)} gave ${dataType}${formatShape(shape)}, "${output.name}" is declared ${type.dataType}${formatShape(type.shape)}`,
    );
  }
}

function describe(operation: Operation): string {
  const names = operation.outputs.map(({ name }) => `"${name}"`).join(", ");
  return names === "" ? operation.type : `${operation.type} (${names})`;
}
