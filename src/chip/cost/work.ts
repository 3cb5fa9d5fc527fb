import { flopsOf, isConstexpr, opRow } from "../../mil/ops/index.ts";
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
  /** Share of its constant weights that is not zero, where they are stored sparsely; all where nobody says. */
  readonly density?: number;
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

/** Layers share functions, and plans are priced several times over: what is known is kept with the function. */
const knownWork = new WeakMap<MilFunction, FunctionWork>();

/**
 * The work of a function, op by op. Throws `ChipError` `chip.symbolic` where a size is not known.
 */
export function functionWork(fn: MilFunction): FunctionWork {
  const known = knownWork.get(fn);
  if (known !== undefined) return known;
  const work = workOf(fn);
  knownWork.set(fn, work);
  return work;
}

function workOf(fn: MilFunction): FunctionWork {
  const context: WorkContext = {
    inputs: new Set<Operand>(fn.inputs),
    stored: new Map<Operand, StoredWeight>(),
    integers: integerChains(fn),
  };
  const ops: OpWork[] = [];
  for (const operation of fn.operations) {
    if (operation.type === "const") continue;
    if (isConstexpr(operation.type)) {
      storeWeight(operation, context.stored);
      continue;
    }
    ops.push(operationWork(operation, context));
    for (const block of operation.blocks) {
      for (const nested of block.operations) {
        if (nested.type !== "const") ops.push(operationWork(nested, context));
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

/** A constant weight as it is stored. */
interface StoredWeight {
  readonly bytes: number;
  readonly density?: number;
  readonly isInt8: boolean;
}

interface WorkContext {
  readonly inputs: ReadonlySet<Operand>;
  readonly stored: Map<Operand, StoredWeight>;
  readonly integers: IntegerChains;
}

/** Weights decompress while they are read: only the stored bytes travel. */
function storeWeight(operation: Operation, stored: Map<Operand, StoredWeight>): void {
  const operands = [...operandsOf(operation)];
  const bytes = sum(operands.map((operand) => stored.get(operand)?.bytes ?? operandBytes(operand)));
  const kept = operation.inputs.get("nonzero_data");
  const [result] = operation.outputs;
  const all = result?.type.kind === "tensor" ? elementCount(staticShape(result.type)) : 0;
  const keptType = kept !== undefined && "kind" in kept ? tensorTypeOf(kept) : undefined;
  const density =
    keptType === undefined || all === 0 ? undefined : elementCount(staticShape(keptType)) / all;
  const isInt8 =
    operation.type === "constexpr_affine_dequantize" &&
    operands.some((operand) => isByte(tensorTypeOf(operand)) && byteSized(operand, all));
  for (const [index, output] of operation.outputs.entries()) {
    // A mask and its numbers are stored once.
    stored.set(output, {
      bytes: index === 0 ? bytes : 0,
      isInt8,
      ...(density !== undefined && { density }),
    });
  }
}

function byteSized(operand: Operand, elements: number): boolean {
  const type = tensorTypeOf(operand);
  return type !== undefined && elementCount(staticShape(type)) === elements;
}

function isByte(type: TensorType | undefined): boolean {
  return type?.dataType === "int8" || type?.dataType === "uint8";
}

/** Values between int8 products of one program, which are never written as fp16. */
interface IntegerChains {
  /** Results of `dequantize` that products alone read. */
  readonly read: ReadonlySet<Operand>;
  /** Results of products that `quantize` alone reads. */
  readonly written: ReadonlySet<Operand>;
}

/**
 * The engine reads int8 activations into a product and quantizes what comes out on the way: chains of int8 convolutions
 * take no time for the ops between (the int8 benches on M4 and M5).
 */
function integerChains(fn: MilFunction): IntegerChains {
  const readers = new Map<Operand, Operation[]>();
  for (const operation of fn.operations) {
    for (const operand of operandsOf(operation)) {
      const list = readers.get(operand) ?? [];
      list.push(operation);
      readers.set(operand, list);
    }
  }
  const outputs = new Set<Operand>(fn.outputs);
  const read = new Set<Operand>();
  const written = new Set<Operand>();
  for (const operation of fn.operations) {
    const [result] = operation.outputs;
    if (result === undefined || outputs.has(result)) continue;
    const next = readers.get(result) ?? [];
    if (next.length === 0) continue;
    if (operation.type === "dequantize") {
      const isRead = next.every((reader) => {
        const operands = productOperands(reader);
        return operands !== undefined && operands.weight !== result;
      });
      if (isRead) read.add(result);
    } else if (productOperands(operation) !== undefined) {
      if (next.every(({ type }) => type === "quantize")) written.add(result);
    }
  }
  return { read, written };
}

/** Inputs that products read as weights. */
export function weightInputs(fn: MilFunction): ReadonlySet<Operand> {
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

function operationWork(operation: Operation, context: WorkContext): OpWork {
  const { integers } = context;
  const [result] = operation.outputs;
  const name = result?.name ?? operation.type;
  const products = productWork(operation, context);
  const isInt8 = products?.int8 === true;
  const operandTotal = sum(
    [...operandsOf(operation)]
      .filter((operand) => products?.weight !== operand)
      .map((operand) =>
        isConstant(operand) ? 0 : operandBytes(operand) / (integers.read.has(operand) ? 2 : 1),
      ),
  );
  const resultTotal = sum(
    operation.outputs.map((value) => valueBytes(value) / (integers.written.has(value) ? 2 : 1)),
  );
  const isFused =
    (operation.type === "dequantize" && result !== undefined && integers.read.has(result)) ||
    (operation.type === "quantize" &&
      [...operandsOf(operation)].some((operand) => integers.written.has(operand)));
  const density = products?.density;
  return {
    name,
    op: operation.type,
    productFlops: products?.flops ?? 0,
    ...(products !== undefined && { productKind: products.kind }),
    positions: products?.positions ?? 1,
    weightBytes: products?.weightBytes ?? 0,
    sharedOperandBytes: products?.sharedOperandBytes ?? 0,
    int8: isInt8,
    ...(density !== undefined && { density }),
    trafficBytes: isFused
      ? 0
      : products === undefined
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
  readonly density: number | undefined;
}

function productWork(
  operation: Operation,
  { inputs, stored, integers }: WorkContext,
): Products | undefined {
  const kind = productOperands(operation);
  if (kind === undefined) return undefined;
  const flops = flopsOf(operation);
  const weightType = tensorTypeOf(kind.weight);
  const resultType = operation.outputs[0]?.type;
  if (weightType === undefined || resultType?.kind !== "tensor") return undefined;
  const weightShape = staticShape(weightType);
  const held = stored.get(kind.weight);
  const fromMemory = isConstant(kind.weight) || inputs.has(kind.weight) || held !== undefined;
  const bytes = held?.bytes ?? sizedBytes(weightType);
  // Two int8 operands, each with its scale: the engine multiplies integers.
  const readsIntegers = [...operandsOf(operation)].some((operand) => integers.read.has(operand));
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
    int8: isByte(weightType) || (held?.isInt8 === true && readsIntegers),
    density: held?.density,
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
