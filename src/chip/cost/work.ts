import { OpCall } from "../../mil/op-call.ts";
import { isConstexpr, opRow } from "../../mil/ops/index.ts";
import { literalOf, operandsOf, tensorTypeOf } from "../../mil/program.ts";
import type { MilFunction, Operand, Operation, Value } from "../../mil/program.ts";
import { byteLengthOf, elementCount, isFloat, staticShape } from "../../mil/types.ts";
import type { TensorType } from "../../mil/types.ts";
import { ChipError } from "../errors.ts";
import { opTraffic } from "./op-traffic.ts";

/** Which of the engine's product rates an op runs at. */
export type ProductKind = "pointwise" | "spatial" | "matmul";

/** What one op asks of the engine. */
export interface OpWork {
  /** Name of its (first) result. */
  readonly name: string;
  readonly op: string;
  /** Floating-point operations on the product array: 2 a multiply-accumulate. */
  readonly productFlops: number;
  readonly productKind?: ProductKind;
  /** Positions (rows, pixels) that share one set of weights. */
  readonly positions: number;
  /** Bytes read from memory once: constants, and function inputs used as weights. */
  readonly weightBytes: number;
  /** Bytes of the operand every position needs. */
  readonly sharedOperandBytes: number;
  readonly int8: boolean;
  /** Whether it runs on all of a package's engines; by its positions where nobody says. */
  readonly isSplit?: boolean;
  /** Bytes of activations read and written, all passes counted. */
  readonly trafficBytes: number;
}

/** What one call of a compiled function asks. */
export interface FunctionWork {
  readonly name: string;
  readonly ops: readonly OpWork[];
  readonly inputBytes: number;
  readonly outputBytes: number;
  /** Of the inputs, those that products read as weights: their bytes count as weights, not at the program's edge. */
  readonly weightInputBytes?: number;
}

/** What crosses a program's edge in buffers that engine and host share. */
export function edgeBytesOf(work: FunctionWork): number {
  return work.inputBytes - (work.weightInputBytes ?? 0) + work.outputBytes;
}

/**
 * The work of a function, op by op. Throws `ChipError` `chip.symbolic` where a size is not known.
 */
export function functionWork(fn: MilFunction): FunctionWork {
  const inputs = new Set<Operand>(fn.inputs);
  const storedBytes = new Map<Operand, number>();
  const ops: OpWork[] = [];
  for (const operation of fn.operations) {
    if (operation.type === "const") continue;
    if (isConstexpr(operation.type)) {
      // They decompress while weights are read: only the stored bytes travel.
      const bytes = sum([...operandsOf(operation)].map((operand) => operandBytes(operand)));
      for (const output of operation.outputs) storedBytes.set(output, bytes);
      continue;
    }
    ops.push(operationWork(operation, inputs, storedBytes));
    for (const block of operation.blocks) {
      for (const nested of block.operations) {
        if (nested.type !== "const") ops.push(operationWork(nested, inputs, storedBytes));
      }
    }
  }
  return {
    name: fn.name,
    ops,
    weightInputBytes: sum([...weightInputs(fn)].map(operandBytes)),
    inputBytes: sum(fn.inputs.map(valueBytes)),
    outputBytes: sum(fn.outputs.map(valueBytes)),
  };
}

function weightInputs(fn: MilFunction): ReadonlySet<Operand> {
  const inputs = new Set<Operand>(fn.inputs);
  const found = new Set<Operand>();
  for (const operation of fn.operations) {
    const weight = productOperands(operation)?.weight;
    if (weight !== undefined && inputs.has(weight)) found.add(weight);
  }
  return found;
}

/** Floating-point operations of a function's products: 2 a multiply-accumulate. */
export function productFlops(fn: MilFunction): number {
  return sum(functionWork(fn).ops.map((op) => op.productFlops));
}

function operationWork(
  operation: Operation,
  inputs: ReadonlySet<Operand>,
  storedBytes: ReadonlyMap<Operand, number>,
): OpWork {
  const name = operation.outputs[0]?.name ?? operation.type;
  const products = productWork(operation, inputs, storedBytes);
  const operandTotal = sum(
    [...operandsOf(operation)]
      .filter((operand) => products?.weight !== operand)
      .map((operand) => (isConstant(operand) ? 0 : operandBytes(operand))),
  );
  const resultTotal = sum(operation.outputs.map(valueBytes));
  return {
    name,
    op: operation.type,
    productFlops: products?.flops ?? 0,
    ...(products !== undefined && { productKind: products.kind }),
    positions: products?.positions ?? 1,
    weightBytes: products?.weightBytes ?? 0,
    sharedOperandBytes: products?.sharedOperandBytes ?? 0,
    int8: products?.int8 ?? false,
    trafficBytes:
      products === undefined
        ? opTraffic(operation, operandTotal, resultTotal)
        : operandTotal + resultTotal,
  };
}

interface Products {
  readonly flops: number;
  readonly kind: ProductKind;
  readonly positions: number;
  /** The operand that counts as weights, if it comes from memory. */
  readonly weight: Operand | undefined;
  readonly weightBytes: number;
  readonly sharedOperandBytes: number;
  readonly int8: boolean;
}

function productWork(
  operation: Operation,
  inputs: ReadonlySet<Operand>,
  storedBytes: ReadonlyMap<Operand, number>,
): Products | undefined {
  const kind = productOperands(operation);
  if (kind === undefined) return undefined;
  const row = opRow(operation.type);
  const flops = row === undefined ? 0 : row.flops(new OpCall(operation, row));
  const weightType = tensorTypeOf(kind.weight);
  const resultType = operation.outputs[0]?.type;
  if (weightType === undefined || resultType?.kind !== "tensor") return undefined;
  const weightShape = staticShape(weightType);
  const fromMemory =
    isConstant(kind.weight) || inputs.has(kind.weight) || storedBytes.has(kind.weight);
  const bytes = storedBytes.get(kind.weight) ?? sizedBytes(weightType);
  const resultShape = staticShape(resultType);
  const taps = kind.kind === "matmul" ? 1 : elementCount(weightShape.slice(2));
  const batch = kind.kind === "matmul" ? elementCount(weightShape.slice(0, -2)) : 1;
  const outputs =
    kind.kind === "matmul" ? (resultShape.at(-1) ?? 1) * batch : (weightShape[0] ?? 1);
  return {
    flops,
    kind: kind.kind === "matmul" ? "matmul" : taps > 1 ? "spatial" : "pointwise",
    positions: Math.max(1, elementCount(resultShape) / Math.max(1, outputs)),
    weight: fromMemory ? kind.weight : undefined,
    weightBytes: fromMemory ? bytes : 0,
    sharedOperandBytes: bytes / batch,
    int8: weightType.dataType === "int8" || weightType.dataType === "uint8",
  };
}

function productOperands(
  operation: Operation,
): { readonly kind: "matmul" | "conv"; readonly weight: Operand } | undefined {
  const product = opRow(operation.type)?.product;
  const weight = product === undefined ? undefined : operation.inputs.get(product.operands[1]);
  if (weight === undefined || !("kind" in weight)) return undefined;
  return { kind: product?.slides === true ? "conv" : "matmul", weight };
}

function isConstant(operand: Operand): boolean {
  return literalOf(operand) !== undefined;
}

function operandBytes(operand: Operand): number {
  const type = tensorTypeOf(operand);
  return type === undefined || type.dataType === "string" ? 0 : sizedBytes(type);
}

function valueBytes(value: Value): number {
  return operandBytes(value);
}

function sizedBytes(type: TensorType): number {
  if (type.shape.includes("?")) {
    throw new ChipError(
      "chip.symbolic",
      `a tensor of shape [${type.shape.join(", ")}] has an unknown size, so the program cannot be priced`,
      { remedy: "Give every dimension a size (`--shape name=1x256`)." },
    );
  }
  // The engine stores every float as fp16; a driver converts what a program declares wider.
  const stored = isFloat(type.dataType) && type.dataType !== "fp16";
  return stored ? 2 * elementCount(staticShape(type)) : byteLengthOf(type);
}

function sum(numbers: readonly number[]): number {
  let total = 0;
  for (const number of numbers) total += number;
  return total;
}
