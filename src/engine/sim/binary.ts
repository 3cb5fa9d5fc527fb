import { hostTensor } from "../../mil/host-tensor.ts";
import type { HostTensor } from "../../mil/host-tensor.ts";
import { expandTo } from "../../mil/ops/strided.ts";
import { elementCount } from "../../mil/types.ts";
import type { SimKernel } from "./kernels.ts";

const ADD = 0;
const SUBTRACT = 1;
const MULTIPLY = 2;
const DIVIDE = 3;
const MAXIMUM = 4;
const MINIMUM = 5;

const CODES = {
  add: ADD,
  sub: SUBTRACT,
  mul: MULTIPLY,
  real_div: DIVIDE,
  maximum: MAXIMUM,
  minimum: MINIMUM,
} as const;

/** A branch that is always the same costs less than a call that is not. */
function compute(code: number, x: number, y: number): number {
  switch (code) {
    case ADD:
      return x + y;
    case SUBTRACT:
      return x - y;
    case MULTIPLY:
      return x * y;
    case DIVIDE:
      return x / y;
    case MAXIMUM:
      return Math.max(x, y);
    default:
      return Math.min(x, y);
  }
}

/** Elementwise ops of two operands, with the broadcasts of transformers as plain loops. */
export function binaryKernel(name: keyof typeof CODES): SimKernel {
  const code = CODES[name];
  return (call) => {
    const x = call.tensor("x");
    const y = call.tensor("y");
    const shape = broadcast(x.shape, y.shape);
    const data = new Float64Array(elementCount(shape));
    const left = period(x, shape);
    const right = period(y, shape);
    if (left !== undefined && right !== undefined) {
      fill(data, x.data, left, y.data, right, code);
    } else {
      const whole = { each: 1, count: data.length };
      fill(data, expandTo(x, shape), whole, expandTo(y, shape), whole, code);
    }
    return hostTensor(x.dataType, shape, data);
  };
}

function broadcast(a: readonly number[], b: readonly number[]): number[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, axis) => {
    const left = a[axis - rank + a.length] ?? 1;
    const right = b[axis - rank + b.length] ?? 1;
    return left === 1 ? right : left;
  });
}

/** How an operand is read: element i of the result reads `floor(i / each) % count`. */
interface Period {
  readonly each: number;
  readonly count: number;
}

/** Nothing where the operand's sizes of 1 stand between larger ones. */
function period(source: HostTensor, shape: readonly number[]): Period | undefined {
  const padded = [
    ...Array.from({ length: shape.length - source.shape.length }, () => 1),
    ...source.shape,
  ];
  let end = shape.length;
  while (end > 0 && padded[end - 1] === 1) end--;
  let begin = 0;
  while (begin < end && padded[begin] === 1) begin++;
  for (let axis = begin; axis < end; axis++) {
    if (padded[axis] !== shape[axis]) return undefined;
  }
  return { each: elementCount(shape.slice(end)), count: source.data.length };
}

function fill(
  data: Float64Array,
  x: Float64Array,
  left: Period,
  y: Float64Array,
  right: Period,
  code: number,
): void {
  const total = data.length;
  if (left.each === 1 && right.each === 1) {
    if (left.count === total && right.count === total) {
      for (let i = 0; i < total; i++) data[i] = compute(code, x[i] ?? 0, y[i] ?? 0);
      return;
    }
    for (let i = 0, l = 0, r = 0; i < total; i++) {
      data[i] = compute(code, x[l] ?? 0, y[r] ?? 0);
      if (++l === left.count) l = 0;
      if (++r === right.count) r = 0;
    }
    return;
  }
  const each =
    left.each === 1 ? right.each : right.each === 1 ? left.each : Math.min(left.each, right.each);
  for (let start = 0; start < total; start += each) {
    const end = Math.min(total, start + each);
    let l = Math.floor(start / left.each) % left.count;
    let r = Math.floor(start / right.each) % right.count;
    const leftStep = left.each === 1 ? 1 : 0;
    const rightStep = right.each === 1 ? 1 : 0;
    for (let i = start; i < end; i++) {
      data[i] = compute(code, x[l] ?? 0, y[r] ?? 0);
      l += leftStep;
      r += rightStep;
      if (l === left.count) l = 0;
      if (r === right.count) r = 0;
    }
  }
}
