import type { NpyArray } from "../../files/npy.ts";

/** How a folder of tests is laid out: ONNX backend tests, or packages named by a `manifest.jsonl`. */
export type Layout = "onnx" | "packages";

export interface Suite {
  readonly name: string;
  readonly folder: string;
  readonly layout: Layout;
  readonly tests: readonly SuiteTest[];
}

/** One test as the list has it; its arrays are read when it is run. */
export interface SuiteTest {
  readonly id: string;
  readonly family: string;
  /** Why it is not run: a port that is no tensor of numbers, results of random ops. */
  readonly leftOut?: string;
}

/** An expected result: numbers as doubles, fp16 as numbers and not as bits. */
export interface ExpectedTensor {
  readonly kind: "float" | "integer" | "bool";
  readonly shape: readonly number[];
  readonly numbers: Float64Array;
}

/** `|actual - expected| <= absolute + relative * |expected| + ofLargest * max |expected of the tensor|`. */
export interface Tolerance {
  readonly absolute: number;
  readonly relative: number;
  readonly ofLargest: number;
}

export interface DataSet {
  readonly arrays: ReadonlyMap<string, NpyArray>;
  /** In the order of the program's results; absent where the test does not say. */
  readonly expected: readonly (ExpectedTensor | undefined)[];
  readonly tolerance: Tolerance;
}

export interface LoadedTest {
  readonly path: string;
  readonly bindsConstants: boolean;
  /** Expected numbers are those of exact arithmetic, also where a program computes in fp16. */
  readonly expectsExact: boolean;
  readonly dataSets: readonly DataSet[];
}
