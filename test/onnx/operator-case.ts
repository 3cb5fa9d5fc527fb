import { elementCount } from "../../src/mil/types.ts";
import type { DataType } from "../../src/mil/types.ts";
import { Random } from "../../src/util/random.ts";
import type { TestAttribute, TestTensor } from "./onnx-model.ts";

export const random = new Random(5);

/** Numbers that no two places share, of both signs. */
export function floats(...shape: readonly number[]): TestTensor {
  const values = Array.from({ length: elementCount(shape) }, () =>
    Math.fround(4 * random.uniform() - 2),
  );
  return { type: "fp32", shape, values };
}
export function positive(...shape: readonly number[]): TestTensor {
  const { values } = floats(...shape);
  return { type: "fp32", shape, values: values.map((value) => Math.fround(Math.abs(value) + 0.1)) };
}
export function whole(
  type: DataType,
  shape: readonly number[],
  low: number,
  high: number,
): TestTensor {
  const values = Array.from(
    { length: elementCount(shape) },
    () => low + random.below(high - low + 1),
  );
  return { type, shape, values };
}
export const int64 = (...values: readonly number[]): TestTensor => ({
  type: "int64",
  shape: [values.length],
  values,
});
export const scalar = (type: DataType, value: number): TestTensor => ({
  type,
  shape: [],
  values: [value],
});

export interface Case {
  readonly op: string;
  /** What the model computes with at run time, then constants, in the order of the operator's inputs. */
  readonly inputs: readonly TestTensor[];
  readonly constants?: readonly (TestTensor | undefined)[];
  readonly attributes?: Readonly<Record<string, TestAttribute>>;
  readonly results?: readonly DataType[];
  readonly opset?: number;
  readonly domain?: string;
  readonly what?: string;
}
