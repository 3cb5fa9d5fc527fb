import { hostTensor } from "../host-tensor.ts";
import type { OpCall } from "../op-call.ts";
import { optional, tensor } from "../op-parameters.ts";
import { defineOp } from "../op-row.ts";
import type { OpRow } from "../op-row.ts";
import { elementCount, staticShape, tensorType } from "../types.ts";
import type { DataType, Dimension, TensorType } from "../types.ts";
import { elementsOfX } from "./elementwise-unary.ts";
import { permute, spanOf } from "./strided.ts";

/** Reduces `values[start, end)` to one number. */
type Reduce = (values: Float64Array, start: number, end: number) => number;

function reducedType(
  call: OpCall,
  axes: readonly number[],
  dataType: DataType = call.dataType("x"),
): TensorType {
  const shape = call.shape("x");
  const keep = call.bool("keep_dims");
  const reduced: Dimension[] = [];
  shape.forEach((size, axis) => {
    if (!axes.includes(axis)) reduced.push(size);
    else if (keep) reduced.push(1);
  });
  return tensorType(dataType, reduced);
}

function reduction(reduce: Reduce, traits: Partial<Pick<OpRow, "keepsSingle" | "numbersOf">> = {}) {
  return defineOp({
    kind: "costly",
    ...traits,
    parameters: { x: tensor(), axes: optional("ints"), keep_dims: optional("bool", false) },
    infer: (call) => [reducedType(call, call.axes("axes", call.shape("x").length))],
    evaluate: (call) => {
      const x = call.tensor("x");
      const axes = call.axes("axes", x.shape.length);
      const type = reducedType(call, axes);
      const kept = x.shape.map((_, axis) => axis).filter((axis) => !axes.includes(axis));
      const values = permute(x, [...kept, ...axes]);
      const count = elementCount(axes.map((axis) => x.shape[axis] ?? 1));
      const output = hostTensor(type.dataType, staticShape(type));
      for (let i = 0; i < output.data.length; i++) {
        output.data[i] = reduce(values, i * count, (i + 1) * count);
      }
      return [output];
    },
    flops: elementsOfX,
  });
}

/** A sum over `term` of every number. */
const total =
  (term: (value: number) => number): Reduce =>
  (values, start, end) => {
    let sum = 0;
    for (let i = start; i < end; i++) sum += term(values[i] ?? 0);
    return sum;
  };

const sum = total((value) => value);
const squares = total((value) => value * value);

const maximum: Reduce = (values, start, end) => {
  let largest = -Infinity;
  for (let i = start; i < end; i++) largest = Math.max(largest, values[i] ?? 0);
  return largest;
};

const minimum: Reduce = (values, start, end) => {
  let smallest = Infinity;
  for (let i = start; i < end; i++) smallest = Math.min(smallest, values[i] ?? 0);
  return smallest;
};

const product: Reduce = (values, start, end) => {
  let result = 1;
  for (let i = start; i < end; i++) result *= values[i] ?? 0;
  return result;
};

const logSumExp: Reduce = (values, start, end) => {
  const largest = maximum(values, start, end);
  if (!Number.isFinite(largest)) return largest;
  let result = 0;
  for (let i = start; i < end; i++) result += Math.exp((values[i] ?? 0) - largest);
  return largest + Math.log(result);
};

const INDEX_TYPES = ["int32", "uint16"] as const;

function indexType(call: OpCall): DataType {
  const wanted = call.string("output_dtype").toLowerCase();
  const found = INDEX_TYPES.find((name) => name === wanted);
  if (found === undefined) {
    throw call.fail(`output_dtype "${wanted}" is none of ${INDEX_TYPES.join(", ")}`);
  }
  return found;
}

/** The position of the extreme number; of equal ones the first (the language leaves the choice open). */
function position(better: (candidate: number, best: number) => boolean) {
  return defineOp({
    kind: "costly",
    parameters: {
      x: tensor(),
      axis: optional("int", -1),
      keep_dims: optional("bool", false),
      output_dtype: optional("string", "int32"),
    },
    infer: (call) => [
      reducedType(call, [call.axis("axis", call.shape("x").length)], indexType(call)),
    ],
    evaluate: (call) => {
      const x = call.tensor("x");
      const axis = call.axis("axis", x.shape.length);
      const type = reducedType(call, [axis], indexType(call));
      const { outer, size, inner } = spanOf(x.shape, axis);
      const output = hostTensor(type.dataType, staticShape(type));
      for (let o = 0; o < outer; o++) {
        for (let i = 0; i < inner; i++) {
          const at = (index: number): number => x.data[(o * size + index) * inner + i] ?? 0;
          let best = 0;
          for (let index = 1; index < size; index++) {
            if (better(at(index), at(best))) best = index;
          }
          output.data[o * inner + i] = best;
        }
      }
      return [output];
    },
    flops: elementsOfX,
  });
}

const KEEPS = { keepsSingle: true } as const;

export const REDUCTION = {
  reduce_argmax: position((candidate, best) => candidate > best),
  reduce_argmin: position((candidate, best) => candidate < best),
  reduce_l1_norm: reduction(total(Math.abs)),
  reduce_l2_norm: reduction((values, start, end) => Math.sqrt(squares(values, start, end))),
  reduce_log_sum: reduction((values, start, end) => Math.log(sum(values, start, end))),
  reduce_log_sum_exp: reduction(logSumExp),
  reduce_max: reduction(maximum, { keepsSingle: true, numbersOf: "x" }),
  reduce_mean: reduction((values, start, end) => sum(values, start, end) / (end - start), KEEPS),
  reduce_min: reduction(minimum, { keepsSingle: true, numbersOf: "x" }),
  reduce_prod: reduction(product, KEEPS),
  reduce_sum: reduction(sum, KEEPS),
  reduce_sum_square: reduction(squares),
} as const;
