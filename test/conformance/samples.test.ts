import { existsSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import * as ort from "onnxruntime-node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openModel, readFlexibleShapes } from "../../src/coreml/index.ts";
import type { FlexibleShape, OpenedModel } from "../../src/coreml/index.ts";
import { mapLiterals } from "../../src/coreml/map-literals.ts";
import { CoreMlError } from "../../src/coreml/errors.ts";
import { createCpuEngine } from "../../src/engine/cpu/index.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { createReferenceEngine } from "../../src/engine/reference/index.ts";
import { runFunction } from "../../src/engine/run-function.ts";
import { createSimEngine } from "../../src/engine/sim/index.ts";
import type { MilFunction, Program } from "../../src/mil/program.ts";
import { withInputShapes } from "../../src/mil/specialize.ts";
import { statesAsValues } from "../../src/mil/states-as-values.ts";
import { elementCount, formatType, isFloat, staticShape } from "../../src/mil/types.ts";
import type { DataType, TensorType } from "../../src/mil/types.ts";
import { checkProgram, formatProblem } from "../../src/mil/verify.ts";
import { functionToOnnx } from "../../src/onnx/lower-function.ts";
import { functionCost } from "../../src/plan/function-cost.ts";
import { float16Bits, float16Value } from "../../src/util/float16.ts";
import { Random } from "../../src/util/random.ts";
import { difference } from "./run-case.ts";
import type { CaseResult } from "./run-case.ts";

// Tolerances are those of run-case.ts, times the ops of the program: fp32 2^-19, fp16 2^-10 of the largest number,
// integers and bools exact.
// Files that other tools wrote. They are not part of the project; where they are absent, these tests are skipped.
const samples = resolve(import.meta.dirname, "../../../shared/samples");
const list = (folder: string, ending: string): readonly string[] =>
  existsSync(join(samples, folder))
    ? readdirSync(join(samples, folder))
        .filter((name) => name.endsWith(ending))
        .map((name) => join(folder, name))
    : [];
const files = [...list("mlpackage", ".mlpackage"), ...list("mil", ".mil")];

/** Texts whose weights are not with them, or that compute in the runtime's own buffers: read, verified, not run. */
const INCOMPLETE: Readonly<Record<string, RegExp>> = {
  "mil/apple_e5rt-analytics_batch_norm.mil": /tensor_buffer/,
  "mil/apple_e5rt-analytics_concat_interleave.mil": /tensor_buffer/,
  "mil/apple_e5rt-analytics_crop_resize.mil": /tensor_buffer/,
  "mil/apple_e5rt-analytics_lstm.mil": /tensor_buffer/,
  "mil/apple_flexible-weighted-legacy.mil": /weight file .* does not exist/,
  "mil/apple_pipeline-weighted-model0.mil": /weight file .* does not exist/,
  "mil/apple_quantized-constexpr.mil": /weight file .* does not exist/,
};

/** Work the reference engine does not do within a test; ANECDOTE_LARGE=1 lets it. */
const LARGE_FLOPS = 1e9;
const runsLarge = process.env["ANECDOTE_LARGE"] === "1";

/** Of the largest number. */
const SIMULATED = 2e-2;

describe.skipIf(files.length === 0)("sample programs (skipped: no samples)", () => {
  const reference = createReferenceEngine();
  const sim = createSimEngine("m4", { threads: 1 });
  let cpu: Engine;
  beforeAll(async () => {
    cpu = await createCpuEngine({ threads: 2 });
  });
  afterAll(async () => {
    await cpu.close();
    await sim.close();
  });

  it.each(files)("%s verifies, and both engines and ONNX Runtime agree on it", async (name) => {
    const opened = openModel(join(samples, name));
    try {
      const { problems } = checkProgram(opened.program);
      expect(problems.map(formatProblem)).toEqual([]);
      const reason = incomplete(opened);
      expect(reason ?? "").toMatch(INCOMPLETE[name] ?? /^$/);
      if (reason !== undefined) return;
      for (const fn of whole(opened).functions) {
        for (const sized of sizesOf(fn))
          await compare(sized, reference, cpu, sim, `${name}, ${fn.name}`);
      }
    } finally {
      opened.close();
    }
  });
});

const whole = (opened: OpenedModel): Program =>
  mapLiterals(opened.program, (literal) => opened.weights.load(literal));

/** Why a file cannot be run, whatever the engine. */
function incomplete(opened: OpenedModel): string | undefined {
  for (const fn of opened.program.functions) {
    for (const { name, type } of [...fn.inputs, ...fn.outputs]) {
      if (type.kind !== "tensor" && type.kind !== "state")
        return `"${name}" is a ${formatType(type)}`;
    }
  }
  try {
    whole(opened);
    return undefined;
  } catch (error) {
    if (error instanceof CoreMlError) return error.message;
    throw error;
  }
}

/** A function at its default sizes and, where they may change, at others of the allowed ones. */
function sizesOf(fn: MilFunction): readonly MilFunction[] {
  const flexible = readFlexibleShapes(fn);
  if (flexible.size === 0) return [fn];
  const choose = (pick: (shape: FlexibleShape) => readonly number[]) =>
    withInputShapes(fn, new Map([...flexible].map(([name, shape]) => [name, pick(shape)])));
  return [
    choose(({ defaultShape }) => defaultShape),
    choose(({ defaultShape, shapes, ranges }) => {
      const last = shapes?.at(-1);
      if (last !== undefined) return last;
      return (
        ranges?.map(([low, high]) => (high < 0 ? low + 1 : Math.min(high, low + 1))) ?? defaultShape
      );
    }),
  ];
}

async function compare(
  original: MilFunction,
  reference: Engine,
  cpu: Engine,
  sim: Engine,
  what: string,
): Promise<void> {
  const { fn } = statesAsValues(original);
  const { flops } = functionCost(fn);
  if (flops > LARGE_FLOPS && !runsLarge) {
    process.stdout.write(
      `${what}: not run, ${(flops / 1e9).toFixed(0)} GFLOP (ANECDOTE_LARGE=1 runs it)\n`,
    );
    return;
  }
  const random = new Random(11);
  const inputs: Record<string, ArrayLike<number>> = {};
  for (const value of fn.inputs) {
    const { dataType, shape } = tensorOf(value);
    // Sums of thousands of products stay of size 1, so that the tolerance is about rounding.
    const size = elementCount(shape) < 1e6 ? 1 : (shape.at(-1) ?? 1) ** -0.25;
    // Small indices fit every axis they may stand for.
    inputs[value.name] = Float64Array.from({ length: elementCount(shape) }, () => {
      if (!isFloat(dataType)) return random.below(2);
      return size * random.normal();
    });
  }
  const fallbacks: string[] = [];
  const onFallback = (reason: string): void => void fallbacks.push(reason);
  const precision = coarsestOf(fn);
  const onCpu = caseResults(await runFunction(cpu, fn, inputs, { onFallback }), precision);
  expect(fallbacks, `${what} runs on the CPU engine itself`).toEqual([]);
  const direct = await runDirectly(fn, inputs, precision);
  const pathLength = fn.operations.filter(({ type }) => type !== "const").length;
  expect(direct.length).toBe(onCpu.length);
  onCpu.forEach((result, index) => {
    const other = direct[index];
    if (other !== undefined) expect(difference(other, result, pathLength), what).toBeUndefined();
  });
  const expected = caseResults(await runFunction(reference, fn, inputs), precision);
  expect(onCpu.length).toBe(expected.length);
  expected.forEach((wanted, index) => {
    const got = onCpu[index];
    expect(
      got === undefined ? "no result" : difference(got, wanted, pathLength),
      what,
    ).toBeUndefined();
  });
  await compareSimulated(fn, inputs, sim, expected, what);
}

/** fp16 between any two ops: the path of a Neural Engine. */
async function compareSimulated(
  fn: MilFunction,
  inputs: Readonly<Record<string, ArrayLike<number>>>,
  sim: Engine,
  expected: readonly CaseResult[],
  what: string,
): Promise<void> {
  const results = caseResults(await runFunction(sim, fn, inputs), "fp16");
  expected.forEach(({ dataType, numbers, name }, index) => {
    const found = results[index]?.numbers ?? [];
    expect(found.length, `${what}, ${name} on sim:m4`).toBe(numbers.length);
    // Another index is right where numbers are alike to fp16.
    if (!isFloat(dataType)) return;
    const largest = numbers.reduce((most, number) => Math.max(most, Math.abs(number)), 0);
    const apart = numbers.reduce(
      (most, number, at) => Math.max(most, Math.abs(number - (found[at] ?? Number.NaN))),
      0,
    );
    expect(apart, `${what}, ${name} on sim:m4`).toBeLessThanOrEqual(SIMULATED * largest);
  });
}

/**
 * The type whose tolerance holds for a function's real results: fp16 where anything in it is fp16, since the CPU
 * engine rounds such values when they leave the program and the reference after every op.
 */
function coarsestOf(fn: MilFunction): "fp16" | "fp32" {
  const values = [...fn.inputs, ...fn.operations.flatMap(({ outputs }) => outputs)];
  return values.some(({ type }) => type.kind === "tensor" && type.dataType === "fp16")
    ? "fp16"
    : "fp32";
}

function tensorOf({ name, type }: MilFunction["inputs"][number]): {
  readonly dataType: DataType;
  readonly shape: readonly number[];
} {
  if (type.kind !== "tensor") throw new Error(`${name} is a ${type.kind}`);
  return { dataType: type.dataType, shape: staticShape(type) };
}

function caseResults(
  results: Awaited<ReturnType<typeof runFunction>>,
  precision: "fp16" | "fp32",
): readonly CaseResult[] {
  return [...results].map(([name, result]) =>
    caseResult(name, result.type, result.toArray(), precision),
  );
}

/** A result that is compared with the tolerance of `precision`, if it holds reals. */
function caseResult(
  name: string,
  { dataType }: TensorType,
  numbers: readonly number[],
  precision: "fp16" | "fp32",
): CaseResult {
  return {
    name,
    dataType: isFloat(dataType) ? precision : dataType,
    numbers,
    bytes: new Uint8Array(),
  };
}

function numbersOf({ dataType }: TensorType, stored: ArrayLike<number>): readonly number[] {
  return Array.from(stored, (number) => (dataType === "fp16" ? float16Value(number) : number));
}

/** The same function in ONNX Runtime as any other program would call it. */
async function runDirectly(
  fn: MilFunction,
  inputs: Readonly<Record<string, ArrayLike<number>>>,
  precision: "fp16" | "fp32",
): Promise<readonly CaseResult[]> {
  const session = await ort.InferenceSession.create(functionToOnnx(fn).bytes, {
    intraOpNumThreads: 1,
    graphOptimizationLevel: "basic",
  });
  const feeds: Record<string, ort.Tensor> = {};
  for (const value of fn.inputs) {
    const { dataType, shape } = tensorOf(value);
    feeds[`in:${value.name}`] = tensorFor(dataType, shape, inputs[value.name] ?? []);
  }
  const results = await session.run(feeds);
  const cases = fn.outputs.map((value) => {
    const tensor = results[`out:${value.name}`];
    if (tensor === undefined || value.type.kind !== "tensor") throw new Error("no result");
    return caseResult(
      value.name,
      value.type,
      numbersOf(value.type, bitsOf(tensor.data)),
      precision,
    );
  });
  await session.release();
  return cases;
}

function tensorFor(
  dataType: DataType,
  shape: readonly number[],
  numbers: ArrayLike<number>,
): ort.Tensor {
  switch (dataType) {
    case "fp16":
      return new ort.Tensor("float16", Uint16Array.from(numbers, float16Bits), shape);
    case "fp32":
      return new ort.Tensor("float32", Float32Array.from(numbers), shape);
    case "int32":
      return new ort.Tensor("int32", Int32Array.from(numbers), shape);
    case "bool":
      return new ort.Tensor("bool", Uint8Array.from(numbers), shape);
    default:
      throw new Error(`inputs of ${dataType}`);
  }
}

/** Elements as numbers, fp16 as 16-bit patterns whatever class the runtime gives them in. */
function bitsOf(data: ort.Tensor.DataType): readonly number[] {
  if (data instanceof Uint16Array || !ArrayBuffer.isView(data)) return Array.from(data, Number);
  const isHalf = data.BYTES_PER_ELEMENT === 2 && !(data instanceof Int16Array);
  return isHalf
    ? Array.from(new Uint16Array(data.buffer, data.byteOffset, data.length))
    : Array.from(data as Iterable<number | bigint>, Number);
}
