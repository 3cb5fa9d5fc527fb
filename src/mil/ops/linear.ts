import { hostTensor } from "../host-tensor.ts";
import type { OpCall } from "../op-call.ts";
import { constantTensor, optional, optionalConstantTensor, tensor } from "../op-parameters.ts";
import { defineOp } from "../op-row.ts";
import { literalOf } from "../program.ts";
import { elementCount, MAXIMUM_RANK, staticShape, tensorType } from "../types.ts";
import type { DataType, Dimension, TensorType } from "../types.ts";
import { broadcastShapes } from "./broadcast.ts";
import { addProduct, transposed } from "./dense-product.ts";
import { agree, checkVector, commonDataType } from "./dimensions.ts";
import { expandTo } from "./strided.ts";

interface MatmulSizes {
  readonly batch: readonly Dimension[];
  readonly rows: Dimension;
  readonly inner: Dimension;
  readonly columns: Dimension;
}

/** A vector counts as one row on the left and as one column on the right, as in NumPy. */
function matrixShape(
  call: OpCall,
  name: "x" | "y",
  shape: readonly Dimension[],
): readonly [batch: readonly Dimension[], rows: Dimension, columns: Dimension] {
  const transposed = call.bool(name === "x" ? "transpose_x" : "transpose_y");
  const [last, ...before] = shape.toReversed();
  if (last === undefined) throw call.fail(`${name} must have rank 1 or more`);
  const [second, ...batch] = before;
  if (second === undefined) {
    if (transposed) throw call.fail(`${name} has rank 1 and cannot be transposed`);
    return name === "x" ? [[], 1, last] : [[], last, 1];
  }
  return transposed ? [batch.toReversed(), last, second] : [batch.toReversed(), second, last];
}

function matmulSizes(call: OpCall): MatmulSizes {
  const [xBatch, rows, inner] = matrixShape(call, "x", call.shape("x"));
  const [yBatch, other, columns] = matrixShape(call, "y", call.shape("y"));
  if (!agree(inner, other)) {
    throw call.fail(
      `the inner sizes ${inner} and ${other} differ`,
      "Check transpose_x and transpose_y.",
    );
  }
  return { batch: broadcastShapes(call, xBatch, yBatch), rows, inner, columns };
}

/** From ios17 on, a constant operand may have another element type; the other one decides the result's. */
function matmulDataType(call: OpCall): DataType {
  const xConstant = literalOf(call.operand("x")) !== undefined;
  const yConstant = literalOf(call.operand("y")) !== undefined;
  if (xConstant === yConstant) return commonDataType(call, "x", "y");
  return call.dataType(xConstant ? "y" : "x");
}

function matmulType(call: OpCall): TensorType {
  const { batch, rows, columns } = matmulSizes(call);
  const shape = [...batch];
  if (call.shape("x").length > 1) shape.push(rows);
  if (call.shape("y").length > 1) shape.push(columns);
  return tensorType(matmulDataType(call), shape);
}

function linearType(call: OpCall): TensorType {
  const x = call.shape("x");
  const [outputs, inputs, ...rest] = call.shape("weight");
  const last = x.at(-1);
  if (last === undefined || x.length > MAXIMUM_RANK) {
    throw call.fail(`x must have rank 1 to ${MAXIMUM_RANK}, not ${x.length}`);
  }
  if (outputs === undefined || inputs === undefined || rest.length > 0) {
    throw call.fail("weight must have the shape [outputs, inputs]");
  }
  if (!agree(last, inputs)) {
    throw call.fail(`the last size of x, ${last}, is not weight's number of inputs, ${inputs}`);
  }
  checkVector(call, "bias", outputs, "output");
  return tensorType(call.dataType("x"), [...x.slice(0, -1), outputs]);
}

export const LINEAR = {
  matmul: defineOp({
    kind: "costly",
    product: { operands: ["x", "y"], terms: (call) => matmulSizes(call).inner },
    parameters: {
      x: tensor(),
      y: tensor(),
      transpose_x: optional("bool", false),
      transpose_y: optional("bool", false),
    },
    infer: (call) => [matmulType(call)],
    evaluate: (call) => {
      const type = matmulType(call);
      const sizes = matmulSizes(call);
      const [rows = 1, inner = 1, columns = 1, ...batch] = staticShape(
        tensorType(type.dataType, [sizes.rows, sizes.inner, sizes.columns, ...sizes.batch]),
      );
      const spread = (name: "x" | "y", size: number): Float64Array => {
        const operand = call.tensor(name);
        const matrices = operand.shape.slice(0, -2);
        return expandTo({ ...operand, shape: [...matrices, size] }, [...batch, size]);
      };
      const x = spread("x", rows * inner);
      const y = spread("y", inner * columns);
      const output = hostTensor(type.dataType, staticShape(type));
      const matrix = (all: Float64Array, index: number, size: number): Float64Array =>
        all.subarray(index * size, (index + 1) * size);
      for (let b = 0; b < elementCount(batch); b++) {
        const left = matrix(x, b, rows * inner);
        const right = matrix(y, b, inner * columns);
        addProduct(
          matrix(output.data, b, rows * columns),
          call.bool("transpose_x") ? transposed(left, inner, rows) : left,
          call.bool("transpose_y") ? transposed(right, columns, inner) : right,
          rows,
          inner,
          columns,
        );
      }
      return [output];
    },
    flops: (call) => {
      const { inner } = matmulSizes(call);
      return 2 * (inner === "?" ? 0 : inner) * elementCount(staticShape(matmulType(call)));
    },
  }),

  linear: defineOp({
    kind: "costly",
    product: { operands: ["x", "weight"], terms: (call) => call.shape("weight").at(-1) ?? "?" },
    parameters: { x: tensor(), weight: constantTensor(), bias: optionalConstantTensor() },
    infer: (call) => [linearType(call)],
    evaluate: (call) => {
      const type = linearType(call);
      const x = call.tensor("x").data;
      const weight = call.tensor("weight");
      const [outputs = 1, inputs = 1] = weight.shape;
      const output = hostTensor(type.dataType, staticShape(type));
      const bias = call.optionalNumbers("bias");
      output.data.forEach((_, index) => {
        output.data[index] = bias?.[index % outputs] ?? 0;
      });
      const rows = output.data.length / outputs;
      const right = transposed(weight.data, outputs, inputs);
      addProduct(output.data, x, right, rows, inputs, outputs);
      return [output];
    },
    flops: (call) => {
      const inputs = call.staticShape("weight")[1] ?? 1;
      const outputs = elementCount(staticShape(linearType(call)));
      return 2 * inputs * outputs + (call.has("bias") ? outputs : 0);
    },
  }),
} as const;
