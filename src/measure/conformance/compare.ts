import type { TensorType } from "../../mil/types.ts";
import { isFloat, staticShape } from "../../mil/types.ts";
import type { DataSet, ExpectedTensor, Tolerance } from "./conformance-test.ts";

/** A result as the engine gave it: numbers as doubles. */
export interface ActualTensor {
  readonly type: TensorType;
  readonly numbers: ArrayLike<number>;
}

/** How an engine's results may differ from what a suite expects. */
export interface Allowance {
  /** Of the largest expected number of the tensor; 0 where the engine computes in fp32 or better. */
  readonly ofLargest: number;
  readonly relative: number;
  /** Expected numbers from here on may be infinite; the largest fp32 where the engine computes in it. */
  readonly infiniteFrom: number;
}

export const EXACT: Allowance = { ofLargest: 0, relative: 0, infiniteFrom: Infinity };
/**
 * The Neural Engine: inputs and results are rounded to fp16, sums end at 2^15, NaN is read as a large number
 * (docs/sim.md). A result may be off by a hundredth of the largest.
 */
export const HALF: Allowance = { ofLargest: 1e-2, relative: 1e-2, infiniteFrom: 2 ** 15 };

/** Why a result is not what was expected, or nothing. */
export function difference(
  name: string,
  actual: ActualTensor,
  expected: ExpectedTensor,
  tolerance: Tolerance,
  allowance: Allowance,
): string | undefined {
  const shape = staticShape(actual.type);
  const isSameShape =
    shape.length === expected.shape.length &&
    shape.every((size, axis) => size === expected.shape[axis]);
  if (!isSameShape && !isScalarAsVector(shape, expected.shape)) {
    return `"${name}" has the shape [${shape.join(", ")}], expected [${expected.shape.join(", ")}]`;
  }
  const { numbers } = expected;
  const isFloats = isFloat(actual.type.dataType);
  let largest = 0;
  const ofLargest = Math.max(tolerance.ofLargest, allowance.ofLargest);
  if (ofLargest > 0 && isFloats)
    for (const number of numbers)
      if (Number.isFinite(number)) largest = Math.max(largest, Math.abs(number));
  const absolute = tolerance.absolute + ofLargest * largest;
  const relative = Math.max(tolerance.relative, allowance.relative);
  let wrongCount = 0;
  let first = "";
  for (let i = 0; i < numbers.length; i++) {
    const [is, wanted] = [actual.numbers[i] ?? NaN, numbers[i] ?? NaN];
    const fits = isFloats
      ? isNear(is, wanted, absolute, relative, allowance.infiniteFrom)
      : is === wanted;
    if (fits) continue;
    if (wrongCount === 0) first = `element ${i} is ${is}, expected ${wanted}`;
    wrongCount++;
  }
  return wrongCount === 0
    ? undefined
    : `"${name}": ${wrongCount} of ${numbers.length} numbers differ; ${first}`;
}

/** Core ML has no results of rank 0: it gives one element. */
function isScalarAsVector(shape: readonly number[], expected: readonly number[]): boolean {
  return shape.length === 1 && shape[0] === 1 && expected.length === 0;
}

function isNear(
  is: number,
  wanted: number,
  absolute: number,
  relative: number,
  infiniteFrom: number,
): boolean {
  if (Number.isNaN(wanted))
    return Number.isNaN(is) || (infiniteFrom < Infinity && Math.abs(is) >= infiniteFrom);
  if (is === wanted) return true;
  // Beyond fp32's largest number a double is expected where fp32 has an infinity.
  const limit = Math.min(infiniteFrom, 3.4028235677973366e38);
  if (Math.abs(wanted) >= limit && Math.abs(is) === Infinity) return is > 0 === wanted > 0;
  return Math.abs(is - wanted) <= absolute + relative * Math.abs(wanted);
}

/** The first difference between results, in order, and what a test expects. */
export function compared(
  { expected, tolerance }: DataSet,
  results: ReadonlyMap<string, ActualTensor>,
  allowance = EXACT,
): string | undefined {
  const named = [...results];
  if (named.length < expected.length)
    return `${named.length} results came, ${expected.length} are expected`;
  for (const [index, wanted] of expected.entries()) {
    const found = named[index];
    if (wanted === undefined || found === undefined) continue;
    const [name, actual] = found;
    const problem = difference(name, actual, wanted, tolerance, allowance);
    if (problem !== undefined) return problem;
  }
  return undefined;
}
