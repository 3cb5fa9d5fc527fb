import { hostTensor } from "../host-tensor.ts";
import type { HostTensor } from "../host-tensor.ts";
import type { OpCall } from "../op-call.ts";
import { optional, tensor } from "../op-parameters.ts";
import { defineOp } from "../op-row.ts";
import { tensorType } from "../types.ts";
import type { DataType, TensorType } from "../types.ts";
import { elementsOfX } from "./elementwise-unary.ts";
import { spanOf } from "./strided.ts";
import { coordinatesOf } from "./windows.ts";

/**
 * For every run along `axis` the positions of its numbers in order. Equal numbers keep their order and NaN
 * comes last, both as NumPy's stable sort; the language leaves both open.
 */
function sortedPositions(x: HostTensor, axis: number, ascending: boolean): HostTensor {
  const { outer, size, inner } = spanOf(x.shape, axis);
  const output = hostTensor("int32", x.shape);
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) {
      const at = (index: number): number => x.data[(o * size + index) * inner + i] ?? 0;
      const order = Array.from({ length: size }, (_, index) => index).toSorted((a, b) =>
        ascending ? compare(at(a), at(b)) : compare(-at(a), -at(b)),
      );
      order.forEach((index, place) => {
        output.data[(o * size + place) * inner + i] = index;
      });
    }
  }
  return output;
}

function compare(a: number, b: number): number {
  if (Number.isNaN(a) || Number.isNaN(b)) return Number(Number.isNaN(a)) - Number(Number.isNaN(b));
  return a < b ? -1 : a > b ? 1 : 0;
}

const INDEX_TYPES = ["int32", "uint16"] as const;

function topkTypes(call: OpCall): readonly TensorType[] {
  const shape = call.shape("x");
  const axis = call.axis("axis", shape.length);
  const size = shape[axis] ?? 1;
  const wanted = call.int("k");
  if (!Number.isInteger(wanted) || wanted < -1 || (size !== "?" && wanted > size)) {
    throw call.fail(`k is ${wanted}, axis ${axis} has ${size}`);
  }
  const result = shape.with(axis, wanted === -1 ? size : wanted);
  const values = tensorType(call.dataType("x"), result);
  if (!call.bool("return_indices")) {
    if (call.has("output_indices_dtype")) {
      throw call.fail("output_indices_dtype needs return_indices");
    }
    return [values];
  }
  return [values, tensorType(indexType(call), result)];
}

const indexType = (call: OpCall): DataType => call.choice("output_indices_dtype", INDEX_TYPES);

export const SORTING = {
  argsort: defineOp({
    kind: "costly",
    parameters: {
      x: tensor(),
      axis: optional("int", -1),
      ascending: optional("bool", false),
    },
    infer: (call) => {
      call.axis("axis", call.shape("x").length);
      return [tensorType("int32", call.shape("x"))];
    },
    evaluate: (call) => {
      const x = call.tensor("x");
      const axis = call.axis("axis", x.shape.length);
      return [sortedPositions(x, axis, call.bool("ascending"))];
    },
    flops: elementsOfX,
  }),

  /** The k largest numbers, or smallest with `ascending`; sorted also where `sort` does not ask for it. */
  topk: defineOp({
    kind: "costly",
    numbersOf: "x",
    parameters: {
      x: tensor(),
      k: optional("int", 1),
      axis: optional("int", -1),
      ascending: optional("bool", false),
      sort: optional("bool", true),
      return_indices: optional("bool", true),
      output_indices_dtype: optional("string", "int32"),
    },
    infer: topkTypes,
    evaluate: (call) => {
      const x = call.tensor("x");
      const axis = call.axis("axis", x.shape.length);
      const positions = sortedPositions(x, axis, call.bool("ascending"));
      const { outer, size, inner } = spanOf(x.shape, axis);
      const wanted = call.int("k");
      const count = wanted === -1 ? size : wanted;
      const shape = x.shape.with(axis, count);
      const values = hostTensor(x.dataType, shape);
      const indices = hostTensor(call.bool("return_indices") ? indexType(call) : "int32", shape);
      for (let o = 0; o < outer; o++) {
        for (let place = 0; place < count; place++) {
          for (let i = 0; i < inner; i++) {
            const target = (o * count + place) * inner + i;
            const index = positions.data[(o * size + place) * inner + i] ?? 0;
            indices.data[target] = index;
            values.data[target] = x.data[(o * size + index) * inner + i] ?? 0;
          }
        }
      }
      return call.bool("return_indices") ? [values, indices] : [values];
    },
    flops: elementsOfX,
  }),

  /** Coordinates of the numbers that are not 0, one row each, in row-major order. */
  non_zero: defineOp({
    kind: "movement",
    parameters: { x: tensor() },
    infer: (call) => [tensorType("int32", ["?", call.shape("x").length])],
    evaluate: (call) => {
      const x = call.tensor("x");
      const rank = x.shape.length;
      const rows: number[] = [];
      x.data.forEach((value, index) => {
        if (value !== 0) rows.push(...coordinatesOf(index, x.shape));
      });
      const count = rank === 0 ? 0 : rows.length / rank;
      return [hostTensor("int32", [count, rank], Float64Array.from(rows))];
    },
  }),
} as const;
