import { hostTensor, roundHalfToEven, roundTo } from "../host-tensor.ts";
import type { HostTensor } from "../host-tensor.ts";
import type { OpCall } from "../op-call.ts";
import { optional, required, tensor } from "../op-parameters.ts";
import { defineOp } from "../op-row.ts";
import type { OpRow } from "../op-row.ts";
import { DATA_TYPE_BITS, elementCount, isDataType, isFloat, tensorType } from "../types.ts";
import type { DataType, TensorType } from "../types.ts";
import { nearestName } from "../../util/nearest.ts";
import { erf } from "./special-functions.ts";

export function mapTensor(x: HostTensor, compute: (value: number) => number): HostTensor {
  return hostTensor(x.dataType, x.shape, x.data.map(compute));
}

export const elementsOfX = (call: OpCall): number => elementCount(call.staticShape("x"));

/** An op of one tensor whose result has the operand's type. */
export function unary(
  compute: (value: number) => number,
  traits: Partial<Pick<OpRow, "numbersOf" | "domain">> = {},
) {
  return defineOp({
    kind: "elementwise",
    pointwise: true,
    ...traits,
    parameters: { x: tensor() },
    infer: (call) => [call.tensorType("x")],
    evaluate: (call) => [mapTensor(call.tensor("x"), compute)],
    flops: elementsOfX,
  });
}

/** `compute(x + epsilon)`; the default epsilon is rounded to x's type, so in fp16 a small one is 0. */
function withEpsilon(fallback: number, compute: (value: number) => number) {
  return defineOp({
    kind: "elementwise",
    pointwise: true,
    domain: "positive",
    parameters: { x: tensor(), epsilon: optional("float", fallback) },
    infer: (call) => [call.tensorType("x")],
    evaluate: (call) => {
      const epsilon = call.floatOf("epsilon", call.dataType("x"));
      return [mapTensor(call.tensor("x"), (value) => compute(value + epsilon))];
    },
    flops: elementsOfX,
  });
}

function castType(call: OpCall): TensorType {
  const dataType = call.string("dtype");
  if (!isDataType(dataType) || dataType === "string") {
    const nearest = nearestName(dataType, Object.keys(DATA_TYPE_BITS));
    throw call.fail(
      `there is no element type "${dataType}"`,
      nearest === undefined ? undefined : `Did you mean "${nearest}"?`,
    );
  }
  return tensorType(dataType, call.shape("x"));
}

/**
 * Floats to integers drop the fraction and NaN becomes 0, as NumPy does. Out of range the sources are silent
 * (NumPy calls it undefined); here numbers wrap around.
 */
function castValue(value: number, from: DataType, to: DataType): number {
  if (isFloat(to)) return value;
  if (to === "bool") return value === 0 ? 0 : 1;
  return roundTo(to, isFloat(from) ? Math.trunc(value) : value);
}

export const ELEMENTWISE_UNARY = {
  abs: unary(Math.abs),
  acos: unary(Math.acos),
  asin: unary(Math.asin),
  atan: unary(Math.atan),
  atanh: unary(Math.atanh),
  ceil: unary(Math.ceil),
  cos: unary(Math.cos),
  cosh: unary(Math.cosh),
  erf: unary(erf),
  exp: unary(Math.exp),
  exp2: unary((x) => 2 ** x),
  floor: unary(Math.floor),
  logical_not: unary((x) => (x === 0 ? 1 : 0)),
  // Ties to even, as coremltools' own evaluation (NumPy) does; its text only says that 0.5 gives 0.
  round: unary(roundHalfToEven),
  sign: unary(Math.sign),
  sin: unary(Math.sin),
  sinh: unary(Math.sinh),
  sqrt: unary(Math.sqrt, { domain: "positive" }),
  square: unary((x) => x * x),
  tan: unary(Math.tan),
  tanh: unary(Math.tanh),
  inverse: withEpsilon(1e-4, (x) => 1 / x),
  log: withEpsilon(1e-45, Math.log),
  rsqrt: withEpsilon(1e-12, (x) => 1 / Math.sqrt(x)),
  clip: defineOp({
    kind: "elementwise",
    pointwise: true,
    numbersOf: "operands",
    parameters: { x: tensor(), alpha: required("float"), beta: required("float") },
    infer: (call) => {
      if (
        call.isKnown("alpha") &&
        call.isKnown("beta") &&
        call.float("alpha") > call.float("beta")
      ) {
        throw call.fail(`alpha ${call.float("alpha")} is above beta ${call.float("beta")}`);
      }
      return [call.tensorType("x")];
    },
    evaluate: (call) => {
      const low = call.float("alpha");
      const high = call.float("beta");
      return [mapTensor(call.tensor("x"), (x) => Math.min(Math.max(x, low), high))];
    },
    flops: elementsOfX,
  }),
  threshold: defineOp({
    kind: "elementwise",
    pointwise: true,
    numbersOf: "operands",
    parameters: { x: tensor(), alpha: required("float") },
    infer: (call) => [call.tensorType("x")],
    evaluate: (call) => {
      const low = call.float("alpha");
      return [mapTensor(call.tensor("x"), (x) => Math.max(x, low))];
    },
    flops: elementsOfX,
  }),
  cast: defineOp({
    kind: "elementwise",
    pointwise: true,
    parameters: { x: tensor(), dtype: required("string") },
    infer: (call) => [castType(call)],
    evaluate: (call) => {
      const { dataType } = castType(call);
      const x = call.tensor("x");
      return [
        hostTensor(
          dataType,
          x.shape,
          x.data.map((value) => castValue(value, x.dataType, dataType)),
        ),
      ];
    },
  }),
  identity: defineOp({
    kind: "view",
    numbersOf: "x",
    parameters: { x: tensor() },
    infer: (call) => [call.operand("x").type],
    evaluate: (call) => [call.tensor("x")],
  }),
} as const;
