import { literalOf, plainOperation } from "../mil/program.ts";
import type { Operand, Operation, Value } from "../mil/program.ts";
import type { OpCall } from "../mil/op-call.ts";
import { foldedBroadcast } from "./folded-axes.ts";
import { writeAroundHalf } from "./beyond-half.ts";
import { declaredShape, declaresFloats } from "./declared.ts";
import type { Lowered } from "./lowered-value.ts";
import { MOST_AXES } from "./lowering.ts";
import type { Lowering } from "./lowering.ts";
import { elementwiseParts, matchedParts } from "./parts.ts";
import type { LoweringRule } from "./rule.ts";
import { asProduct, isRowStatistic, multiplyProducts } from "./scaled-products.ts";
import { reciprocalRoot } from "./reductions.ts";

/** An elementwise op of two operands, over parts and over more axes than the chip takes too. */
export function applyBinary(
  lowering: Lowering,
  type: string,
  x: Lowered,
  y: Lowered,
  shape: readonly number[],
  name?: string,
): Lowered {
  if (shape.length > MOST_AXES) return applyFolded(lowering, type, x, y, shape);
  const [left, right] = matchedParts(lowering, x, y);
  if (left.kind === "parts" || right.kind === "parts") {
    return elementwiseParts(lowering, type, left, right, shape);
  }
  const operands = [lowering.broadcastable(left), lowering.broadcastable(right)] as const;
  return lowering.plain(append(lowering, type, operands, name), shape);
}

function append(
  lowering: Lowering,
  type: string,
  [x, y]: readonly [Operand, Operand],
  name?: string,
): Value {
  const [value] = lowering.builder.append(plainOperation(type, { x, y }, []), name);
  if (value === undefined) throw lowering.refuse(`${type} has no result`);
  return value;
}

function applyFolded(
  lowering: Lowering,
  type: string,
  x: Lowered,
  y: Lowered,
  shape: readonly number[],
): Lowered {
  const folded = foldedBroadcast([x.shape, y.shape], shape);
  const operand = (side: Lowered, sizes: readonly number[] = []): Operand => {
    if (sizes.length > MOST_AXES)
      throw lowering.refuse(
        `${type} broadcasts over ${sizes.length} axes, the chip takes ${MOST_AXES}`,
      );
    if (side.kind === "uniform") return lowering.broadcastable(side);
    const value = side.kind === "folded" ? side.value : lowering.whole(side);
    return lowering.reshape(value, sizes);
  };
  const operands = [operand(x, folded[0]), operand(y, folded[1])] as const;
  return { kind: "folded", value: append(lowering, type, operands), shape };
}

export const binary: LoweringRule = (lowering, call, operation) => {
  const { type } = operation;
  const shape = declaredShape(operation);
  if (!declaresFloats(operation)) {
    lowering.wholeNumbers.requireExact(
      operation,
      lowering.wholeNumbers.resultBounds(call, operation),
    );
  }
  const around = writeAroundHalf(lowering, call, operation);
  const x = around?.x ?? lowering.lookup(call, "x");
  const y = around?.y ?? lowering.lookup(call, "y");
  if (type === "mul" && around === undefined) {
    const product = productOf(call, x, y, shape);
    if (product !== undefined) return product;
  }
  const name = around === undefined ? operation.outputs[0]?.name : undefined;
  let result = applyBinary(lowering, around?.type ?? type, x, y, shape, name);
  for (const step of around?.after ?? [])
    result = applyBinary(lowering, step.type, result, step.y, shape);
  return result;
};

/** A product that is put off: one with powers of a reciprocal root in it. */
function productOf(
  call: OpCall,
  x: Lowered,
  y: Lowered,
  shape: readonly number[],
): Lowered | undefined {
  for (const [side, name] of [
    [x, "y"],
    [y, "x"],
  ] as const) {
    const literal = literalOf(call.operand(name));
    const isNumber = literal?.data.kind === "numbers" && literal.data.numbers.length === 1;
    if (side.kind === "product" && isNumber) {
      return { ...side, constant: side.constant * call.float(name), shape };
    }
  }
  const left = asProduct(x);
  const right = asProduct(y);
  if (left === undefined || right === undefined) return undefined;
  return multiplyProducts(left, right, shape);
}

/** The root itself is a product of one: its powers are put off. */
export const rsqrt: LoweringRule = (lowering, call, operation) => {
  const x = lowering.lookup(call, "x");
  if (x.kind === "folded") return unary(lowering, call, operation);
  const value = reciprocalRoot(lowering, call) ?? lowering.copy(operation)[0];
  if (value === undefined) return undefined;
  const shape = declaredShape(operation);
  return { kind: "product", others: [], scales: [value], constant: 1, shape };
};

export const unary: LoweringRule = (lowering, call, operation) => {
  const x = lowering.lookup(call, "x");
  if (x.kind === "folded") return { ...x, value: applyTo(lowering, operation, x.value) };
  if (x.kind !== "parts") return undefined;
  return { ...x, values: x.values.map((part) => applyTo(lowering, operation, part)) };
};

export function applyTo(lowering: Lowering, operation: Operation, part: Value): Value {
  lowering.set(part, lowering.plain(part));
  const [value] = lowering.copy({ ...operation, inputs: new Map(operation.inputs).set("x", part) });
  if (value === undefined) throw lowering.refuse(`${operation.type} has no result`);
  return value;
}

/** What an op of one operand is written as, over parts and more axes than the chip takes too. */
export function written(lowering: Lowering, x: Lowered, write: (value: Value) => Value): Lowered {
  if (x.kind === "parts") return { ...x, values: x.values.map(write) };
  if (x.kind === "folded") return { ...x, value: write(x.value) };
  return lowering.plain(write(lowering.whole(x)));
}

/** A square joined with a nonlinearity fails at some widths: x * x does not. */
export const square: LoweringRule = (lowering, call, operation) => {
  const x = lowering.lookup(call, "x");
  const times = (value: Value): Value => lowering.builder.op("mul", { x: value, y: value });
  if (x.kind === "parts" || x.kind === "folded") return written(lowering, x, times);
  const product = x.kind === "product" ? multiplyProducts(x, x, x.shape) : undefined;
  if (product !== undefined) return product;
  if (x.kind === "plain" && isRowStatistic(x)) {
    const scales = [x.value, x.value];
    return { kind: "product", others: [], scales, constant: 1, shape: x.shape };
  }
  const value = lowering.broadcastable(x);
  return lowering.plain(
    lowering.builder.op("mul", { x: value, y: value }),
    declaredShape(operation),
  );
};
