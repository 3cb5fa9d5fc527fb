import { hostTensor } from "../host-tensor.ts";
import type { OpCall } from "../op-call.ts";
import { defineOp, optional, tensor } from "../op-row.ts";
import { elementCount, staticShape, tensorType } from "../types.ts";
import type { Dimension, TensorType } from "../types.ts";
import { broadcastReader, broadcastShapes } from "./broadcast.ts";

interface MatmulSizes {
  readonly batch: readonly Dimension[];
  readonly rows: Dimension;
  readonly inner: Dimension;
  readonly columns: Dimension;
}

function matmulSizes(call: OpCall): MatmulSizes {
  const x = call.shape("x");
  const y = call.shape("y");
  if (x.length < 2 || y.length < 2) throw call.fail("x and y need rank 2 or more");
  const [rows, inner] = call.bool("transpose_x") ? [x.at(-1), x.at(-2)] : [x.at(-2), x.at(-1)];
  const [other, columns] = call.bool("transpose_y") ? [y.at(-1), y.at(-2)] : [y.at(-2), y.at(-1)];
  if (rows === undefined || inner === undefined || other === undefined || columns === undefined) {
    throw call.fail("x and y need rank 2 or more");
  }
  if (inner !== other && inner !== "?" && other !== "?") {
    throw call.fail(
      `the inner sizes ${inner} and ${other} differ`,
      "Check transpose_x and transpose_y.",
    );
  }
  return { batch: broadcastShapes(call, x.slice(0, -2), y.slice(0, -2)), rows, inner, columns };
}

function matmulType(call: OpCall): TensorType {
  const { batch, rows, columns } = matmulSizes(call);
  if (call.dataType("x") !== call.dataType("y")) {
    throw call.fail(
      `x and y must have one element type, not ${call.dataType("x")} and ${call.dataType("y")}`,
    );
  }
  return tensorType(call.dataType("x"), [...batch, rows, columns]);
}

export const LINEAR = {
  matmul: defineOp({
    parameters: {
      x: tensor(),
      y: tensor(),
      transpose_x: optional("bool", false),
      transpose_y: optional("bool", false),
    },
    since: "ios13",
    infer: (call) => [matmulType(call)],
    evaluate: (call) => {
      const type = matmulType(call);
      const shape = staticShape(type);
      const [rows = 1, columns = 1] = shape.slice(-2);
      const x = call.tensor("x");
      const y = call.tensor("y");
      const transposeX = call.bool("transpose_x");
      const transposeY = call.bool("transpose_y");
      const inner = (transposeX ? x.shape.at(-2) : x.shape.at(-1)) ?? 1;
      const batch = shape.slice(0, -2);
      const xAt = broadcastReader(x, [...batch, ...x.shape.slice(-2)]);
      const yAt = broadcastReader(y, [...batch, ...y.shape.slice(-2)]);
      const output = hostTensor(type.dataType, shape);
      for (let b = 0; b < elementCount(batch); b++) {
        for (let i = 0; i < rows; i++) {
          for (let j = 0; j < columns; j++) {
            let sum = 0;
            for (let k = 0; k < inner; k++) {
              const left = xAt(b * rows * inner + (transposeX ? k * rows + i : i * inner + k));
              const right = yAt(
                b * inner * columns + (transposeY ? j * inner + k : k * columns + j),
              );
              sum += left * right;
            }
            output.data[(b * rows + i) * columns + j] = sum;
          }
        }
      }
      return [output];
    },
    flops: (call) => {
      const inner = call.staticShape("x").at(call.bool("transpose_x") ? -2 : -1) ?? 1;
      return 2 * inner * elementCount(staticShape(matmulType(call)));
    },
  }),
} as const;
