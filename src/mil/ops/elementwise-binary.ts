import { hostTensor } from "../host-tensor.ts";
import type { OpCall } from "../op-call.ts";
import { defineOp, tensor } from "../op-row.ts";
import { elementCount, staticShape, tensorType } from "../types.ts";
import type { DataType, TensorType } from "../types.ts";
import { broadcastShapes, broadcastReader } from "./broadcast.ts";

function resultType(call: OpCall, dataType?: DataType): TensorType {
  const x = call.tensorType("x");
  const y = call.tensorType("y");
  if (x.dataType !== y.dataType) {
    throw call.fail(
      `x and y must have one element type, not ${x.dataType} and ${y.dataType}`,
      "Cast one of them.",
    );
  }
  return tensorType(dataType ?? x.dataType, broadcastShapes(call, x.shape, y.shape));
}

function binary(compute: (x: number, y: number) => number, result?: DataType) {
  return defineOp({
    parameters: { x: tensor(), y: tensor() },
    since: "ios13",
    infer: (call) => [resultType(call, result)],
    evaluate: (call) => {
      const type = resultType(call, result);
      const shape = staticShape(type);
      const x = broadcastReader(call.tensor("x"), shape);
      const y = broadcastReader(call.tensor("y"), shape);
      const output = hostTensor(type.dataType, shape);
      for (let i = 0; i < output.data.length; i++) output.data[i] = compute(x(i), y(i));
      return [output];
    },
    flops: (call) => elementCount(staticShape(resultType(call, result))),
  });
}

const comparison = (holds: (x: number, y: number) => boolean) =>
  binary((x, y) => (holds(x, y) ? 1 : 0), "bool");

export const ELEMENTWISE_BINARY = {
  add: binary((x, y) => x + y),
  sub: binary((x, y) => x - y),
  mul: binary((x, y) => x * y),
  real_div: binary((x, y) => x / y),
  maximum: binary((x, y) => Math.max(x, y)),
  minimum: binary((x, y) => Math.min(x, y)),
  pow: binary((x, y) => x ** y),
  equal: comparison((x, y) => x === y),
  not_equal: comparison((x, y) => x !== y),
  less: comparison((x, y) => x < y),
  less_equal: comparison((x, y) => x <= y),
  greater: comparison((x, y) => x > y),
  greater_equal: comparison((x, y) => x >= y),
} as const;
