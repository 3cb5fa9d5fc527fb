import type { FunctionBuilder } from "../mil/builder.ts";
import { numericLiteral } from "../mil/literal.ts";
import { OpCall } from "../mil/op-call.ts";
import { OPS } from "../mil/ops/index.ts";
import { literalOf } from "../mil/program.ts";
import type { Literal, MilFunction, Operand, Operation, Value } from "../mil/program.ts";
import { elementCount, tensorType } from "../mil/types.ts";
import { familyIndex } from "../chip/chip.ts";
import type { Chip, Driver } from "../chip/chip.ts";
import { inStreamNotch, priceCall, pricingRates } from "../chip/cost/model.ts";
import { functionWork } from "../chip/cost/work.ts";
import { knownShape, operandOf } from "../mil/match.ts";
import { rewritingOnce } from "../passes/rewrite.ts";

const BYTES = 2;
/** Inner sizes stay multiples of this (rule `matmul-inner-32`). */
const STEP = 32;

/**
 * Where to split a contraction whose weights fall into the stream's notch (rule `stream-notch`): the first
 * multiple of 32 from the middle on that leaves both parts outside of it; nothing where there is none.
 */
export function splitPoint(inner: number, outer: number): number | undefined {
  const middle = Math.ceil(inner / 2 / STEP) * STEP;
  for (let first = middle; first < inner; first += STEP) {
    const parts = [first, inner - first];
    if (!parts.some((part) => inStreamNotch(BYTES * part * outer))) return first;
  }
  return undefined;
}

export function priceOf(fn: MilFunction, chip: Chip, driver: Driver): number {
  return priceCall(functionWork(fn), pricingRates(chip, driver)).ms;
}

/**
 * Products whose constant weights are a whole number of MiB a core, as two products over parts of the contracted
 * axis and their sum, each where the cost model says that it gains. Up to H16; later chips have no notch.
 */
export function splitNotchedWeights(fn: MilFunction, chip: Chip, driver: Driver): MilFunction {
  if (familyIndex(chip.family) > familyIndex("H16")) return fn;
  let current = fn;
  for (const name of fn.operations.filter(isNotched).map(({ outputs }) => outputs[0]?.name)) {
    const next = splitOne(name, chip)(current);
    if (priceOf(next, chip, driver) < priceOf(current, chip, driver)) current = next;
  }
  return current;
}

function weightOf(operation: Operation): Literal | undefined {
  const name = operation.type === "conv" ? "weight" : operation.type === "matmul" ? "y" : undefined;
  const operand = name === undefined ? undefined : operandOf(operation, name);
  return operand === undefined ? undefined : literalOf(operand);
}

function isNotched(operation: Operation): boolean {
  const literal = weightOf(operation);
  if (literal?.type.kind !== "tensor" || literal.data.kind !== "numbers") return false;
  if (literal.type.dataType !== "fp16") return false;
  const shape = knownShape(literal);
  return shape !== undefined && inStreamNotch(BYTES * elementCount(shape));
}

function splitOne(name: string | undefined, chip: Chip) {
  return rewritingOnce("split weights in the notch", () => (operation, { emit }) => {
    if (operation.outputs[0]?.name !== name) return undefined;
    return operation.type === "conv"
      ? splitConvolution(operation, emit)
      : splitProduct(operation, emit, familyIndex(chip.family) <= familyIndex("H14"));
  });
}

function splitConvolution(operation: Operation, emit: FunctionBuilder): Value | undefined {
  const call = new OpCall(operation, OPS.conv);
  const x = operandOf(operation, "x");
  const weight = weightOf(operation);
  const shape = knownShape(x);
  const [outer = 0, inner = 0, ...taps] = knownShape(weight) ?? [];
  const first = splitPoint(inner, outer * elementCount(taps));
  if (x === undefined || weight === undefined || shape === undefined || first === undefined)
    return undefined;
  if (call.int("groups") !== 1) return undefined;
  const part = (begin: number, end: number, isFirst: boolean): Value => {
    const inputs = new Map(operation.inputs)
      .set("x", sliced(emit, x, shape, 1, begin, end))
      .set(
        "weight",
        emit.constant(columnsOf(weight, [outer, inner, elementCount(taps)], begin, end, taps)),
      );
    if (!isFirst) inputs.delete("bias");
    return only(emit.append({ ...operation, inputs }));
  };
  return emit.op("add", { x: part(0, first, true), y: part(first, inner, false) });
}

function splitProduct(
  operation: Operation,
  emit: FunctionBuilder,
  turn: boolean,
): Value | undefined {
  const call = new OpCall(operation, OPS.matmul);
  const x = operandOf(operation, "x");
  const weight = weightOf(operation);
  const shape = knownShape(x);
  const isTransposed = call.bool("transpose_y");
  const sizes = knownShape(weight);
  if (x === undefined || weight === undefined || shape?.length !== 2 || sizes?.length !== 2)
    return undefined;
  const [inner = 0, outer = 0] = isTransposed ? sizes.toReversed() : sizes;
  const first = splitPoint(inner, outer);
  if (first === undefined) return undefined;
  const rows = rowsOf(emit, x, call.bool("transpose_x"), turn);
  const part = (begin: number, end: number): Value =>
    emit.op("matmul", {
      x: rows.slice(begin, end),
      y: emit.constant(
        isTransposed
          ? columnsOf(weight, [outer, inner, 1], begin, end, [])
          : columnsOf(weight, [1, inner, outer], begin, end, [outer], [end - begin]),
      ),
      transpose_x: rows.transposeX,
      transpose_y: isTransposed,
    });
  return emit.op("add", { x: part(0, first), y: part(first, inner) });
}

/** Parts of a matrix along the axis that a product contracts. */
export function rowsOf(
  emit: FunctionBuilder,
  x: Operand,
  isTransposed: boolean,
  turn: boolean,
): { readonly transposeX: boolean; readonly slice: (begin: number, end: number) => Value } {
  const shape = knownShape(x) ?? [];
  // Slices of the last axis clamp on H13 and H14: exchange the axes first.
  const isTurned = turn && !isTransposed;
  const source = isTurned ? emit.op("transpose", { x, perm: [1, 0] }) : x;
  const transposeX = isTurned || isTransposed;
  const sizes = isTurned ? shape.toReversed() : shape;
  return {
    transposeX,
    slice: (begin, end) => sliced(emit, source, sizes, transposeX ? 0 : 1, begin, end),
  };
}

function sliced(
  emit: FunctionBuilder,
  x: Operand,
  shape: readonly number[],
  axis: number,
  begin: number,
  end: number,
): Value {
  return emit.op("slice_by_index", {
    x,
    begin: shape.map((_, at) => (at === axis ? begin : 0)),
    end: shape.map((size, at) => (at === axis ? end : size)),
  });
}

/** Columns `begin` to `end` of the middle axis of a constant seen as [rows, inner, run]. */
function columnsOf(
  { type, data }: Literal,
  [rows, inner, run]: readonly [number, number, number],
  begin: number,
  end: number,
  after: readonly number[],
  before: readonly number[] = [rows, end - begin],
): Literal {
  const width = (end - begin) * run;
  const numbers = new Float32Array(rows * width);
  if (data.kind === "numbers") {
    for (let row = 0; row < rows; row++) {
      const start = (row * inner + begin) * run;
      for (let i = 0; i < width; i++) numbers[row * width + i] = Number(data.numbers[start + i]);
    }
  }
  const dataType = type.kind === "tensor" ? type.dataType : "fp16";
  return numericLiteral(tensorType(dataType, [...before, ...after]), numbers);
}

function only(values: readonly Value[]): Value {
  const [value] = values;
  if (value === undefined) throw new RangeError("a product has one result");
  return value;
}
