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
import { spanOf } from "./strided.ts";

/** The numbers of a tensor, each computed from the old one and its place. */
export function mapTensor(
  x: HostTensor,
  compute: (value: number, index: number) => number,
  dataType: DataType = x.dataType,
): HostTensor {
  return hostTensor(dataType, x.shape, x.data.map(compute));
}

/** As `mapTensor`, with the channel of every number, channels being `axis`. */
export function mapChannels(
  x: HostTensor,
  compute: (value: number, channel: number, index: number) => number,
  axis = 1,
): HostTensor {
  const { size, inner } = spanOf(x.shape, axis);
  return mapTensor(x, (value, index) => compute(value, Math.floor(index / inner) % size, index));
}

export const elementsOfX = (call: OpCall): number => elementCount(call.staticShape("x"));

interface PointwiseOptions extends Partial<Pick<OpRow, "numbersOf" | "domain">> {
  /** Throws where settings do not go together. */
  readonly check?: (call: OpCall) => void;
}

/** An op of one tensor and `settings` whose result has the operand's type; `computation` reads the settings once. */
export function pointwise<const Settings extends OpRow["parameters"]>(
  settings: Settings,
  computation: (call: OpCall) => (value: number) => number,
  { check, ...traits }: PointwiseOptions = {},
) {
  return defineOp({
    kind: "elementwise",
    pointwise: true,
    ...traits,
    parameters: { x: tensor(), ...settings },
    infer: (call) => {
      check?.(call);
      return [call.tensorType("x")];
    },
    evaluate: (call) => [mapTensor(call.tensor("x"), computation(call))],
    flops: elementsOfX,
  });
}

/** An op of one tensor, without settings. */
export const unary = (
  compute: (value: number) => number,
  traits: Partial<Pick<OpRow, "numbersOf" | "domain">> = {},
) => pointwise({}, () => compute, traits);

/** `compute(x + epsilon)`; the default epsilon is rounded to x's type, so in fp16 a small one is 0. */
const withEpsilon = (fallback: number, compute: (value: number) => number) =>
  pointwise(
    { epsilon: optional("float", fallback) },
    (call) => {
      const epsilon = call.floatOf("epsilon", call.dataType("x"));
      return (value) => compute(value + epsilon);
    },
    { domain: "positive" },
  );

function checkBounds(call: OpCall): void {
  if (call.isKnown("alpha") && call.isKnown("beta") && call.float("alpha") > call.float("beta")) {
    throw call.fail(`alpha ${call.float("alpha")} is above beta ${call.float("beta")}`);
  }
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
  clip: pointwise(
    { alpha: required("float"), beta: required("float") },
    (call) => {
      const low = call.float("alpha");
      const high = call.float("beta");
      return (x) => Math.min(Math.max(x, low), high);
    },
    { numbersOf: "operands", check: checkBounds },
  ),
  threshold: pointwise(
    { alpha: required("float") },
    (call) => {
      const low = call.float("alpha");
      return (x) => Math.max(x, low);
    },
    { numbersOf: "operands" },
  ),
  cast: defineOp({
    kind: "elementwise",
    pointwise: true,
    parameters: { x: tensor(), dtype: required("string") },
    infer: (call) => [castType(call)],
    evaluate: (call) => {
      const { dataType } = castType(call);
      const x = call.tensor("x");
      return [mapTensor(x, (value) => castValue(value, x.dataType, dataType), dataType)];
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
