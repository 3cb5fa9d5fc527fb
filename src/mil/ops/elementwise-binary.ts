import { hostTensor } from "../host-tensor.ts";
import type { OpCall } from "../op-call.ts";
import { tensor } from "../op-parameters.ts";
import { defineOp } from "../op-row.ts";
import { elementCount, staticShape, tensorType } from "../types.ts";
import type { DataType, TensorType } from "../types.ts";
import { broadcastShapes } from "./broadcast.ts";
import { commonDataType } from "./dimensions.ts";
import { floorDivide, modulo, power } from "./special-functions.ts";
import { expandTo } from "./strided.ts";

type Compute = (x: number, y: number) => number;

function resultType(call: OpCall, dataType?: DataType): TensorType {
  const common = commonDataType(call, "x", "y");
  return tensorType(dataType ?? common, broadcastShapes(call, call.shape("x"), call.shape("y")));
}

interface BinaryOptions {
  /** Element type of the result where it is not that of the operands. */
  readonly result?: DataType;
  /** Arithmetic of int32 operands where doubles would lose bits. */
  readonly int32?: Compute;
  readonly commutative?: true;
  readonly numbersOf?: "operands";
  readonly domain?: "positive";
}

function binary(compute: Compute, { result, int32, ...traits }: BinaryOptions = {}) {
  return defineOp({
    kind: "elementwise",
    broadcasts: true,
    ...traits,
    parameters: { x: tensor(), y: tensor() },
    infer: (call) => [resultType(call, result)],
    evaluate: (call) => {
      const type = resultType(call, result);
      const shape = staticShape(type);
      const x = expandTo(call.tensor("x"), shape);
      const y = expandTo(call.tensor("y"), shape);
      const apply = int32 !== undefined && call.dataType("x") === "int32" ? int32 : compute;
      const output = hostTensor(type.dataType, shape);
      for (let i = 0; i < output.data.length; i++) output.data[i] = apply(x[i] ?? 0, y[i] ?? 0);
      return [output];
    },
    flops: (call) => elementCount(staticShape(resultType(call, result))),
  });
}

const comparison = (holds: (x: number, y: number) => boolean, options: BinaryOptions = {}) =>
  binary((x, y) => (holds(x, y) ? 1 : 0), { result: "bool", ...options });

const COMMUTATIVE = { commutative: true } as const;
const EXTREME = { commutative: true, numbersOf: "operands" } as const;

export const ELEMENTWISE_BINARY = {
  add: binary((x, y) => x + y, { commutative: true }),
  sub: binary((x, y) => x - y),
  mul: binary((x, y) => x * y, { int32: Math.imul, commutative: true }),
  // Of two int32 numbers the quotient is cut towards zero: the declared type of the result is int32.
  real_div: binary((x, y) => x / y),
  floor_div: binary(floorDivide),
  mod: binary(modulo),
  maximum: binary((x, y) => Math.max(x, y), EXTREME),
  minimum: binary((x, y) => Math.min(x, y), EXTREME),
  pow: binary(power, { domain: "positive" }),
  equal: comparison((x, y) => x === y, COMMUTATIVE),
  not_equal: comparison((x, y) => x !== y, COMMUTATIVE),
  less: comparison((x, y) => x < y),
  less_equal: comparison((x, y) => x <= y),
  greater: comparison((x, y) => x > y),
  greater_equal: comparison((x, y) => x >= y),
  logical_and: comparison((x, y) => x !== 0 && y !== 0, COMMUTATIVE),
  logical_or: comparison((x, y) => x !== 0 || y !== 0, COMMUTATIVE),
  logical_xor: comparison((x, y) => (x !== 0) !== (y !== 0), COMMUTATIVE),
} as const;
