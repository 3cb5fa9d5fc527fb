import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createCpuEngine } from "../../src/engine/cpu/index.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { hostTensor } from "../../src/mil/host-tensor.ts";
import type { MilFunction } from "../../src/mil/program.ts";
import { statesAsValues } from "../../src/mil/states-as-values.ts";
import { OnnxError } from "../../src/onnx/errors.ts";
import { functionToOnnx } from "../../src/onnx/lower-function.ts";
import { NOT_LOWERED } from "../../src/onnx/lower/not-lowered.ts";
import {
  firstDifference,
  fixtureFunction,
  fixtureInputs,
  fixtureHostTensor,
  readOpFixtures,
} from "../mil/op-fixtures.ts";
import type { FixtureCase } from "../mil/op-fixtures.ts";
import { runCase } from "./run-case.ts";

/** Why ONNX Runtime cannot run a function, or nothing. */
function refusal(fn: MilFunction): string | undefined {
  try {
    functionToOnnx(fn);
    return undefined;
  } catch (error) {
    if (error instanceof OnnxError) return error.message;
    throw error;
  }
}

// The CPU engine computes fp32 where the fixtures' double precision is rounded once: sums of a few dozen terms of
// size 10 or less, and functions approximated to a few units in the last place, stay within 2^-18 of the largest
// number. fp16 results are computed in fp32 and rounded once, as the fixtures: one unit, 2^-10.
const TOLERANCE: Readonly<Record<string, number>> = { fp32: 2 ** -18, fp16: 2 ** -10 };

/**
 * Cases whose sizes or settings are only known at run time, while the engine's plans are static, and those that
 * give a mask of bits as a result, which no model can (programs that decompress with masks: programs.test.ts).
 */
const REFUSED: Readonly<Record<string, number>> = {
  constexpr_lut_to_sparse: 2,
  constexpr_sparse_blockwise_shift_scale: 1,
  fill: 1,
  range_1d: 1,
  reshape: 1,
  slice_by_index: 1,
  tile: 1,
};

describe("what ONNX Runtime computes is what NumPy, PyTorch or coremltools give", () => {
  let cpu: Engine;
  beforeAll(async () => {
    cpu = await createCpuEngine({ threads: 2 });
  });
  afterAll(async () => {
    await cpu.close();
  });

  for (const { op, cases } of readOpFixtures()) {
    it(op, async () => {
      const refused: string[] = [];
      for (const [index, example] of cases.entries()) {
        const reason = await check(cpu, op, example, `case ${index}`);
        if (reason !== undefined) refused.push(`case ${index}: ${reason}`);
      }
      const isRefused = op in NOT_LOWERED && op !== "read_state" && op !== "write_state";
      expect(refused.length, refused.join()).toBe(isRefused ? cases.length : (REFUSED[op] ?? 0));
    });
  }
});

async function check(
  cpu: Engine,
  op: string,
  example: FixtureCase,
  what: string,
): Promise<string | undefined> {
  const { fn, states } = statesAsValues(fixtureFunction(op, example));
  const reason = refusal(fn);
  if (reason !== undefined) return reason;
  const inputs = new Map(fixtureInputs(example));
  const expected = [...example.outputs];
  for (const { input } of states) {
    const [before, after] = example.states?.[input] ?? [];
    if (before !== undefined) inputs.set(input, fixtureHostTensor(before));
    if (after !== undefined) expected.push(after);
  }
  const given = [...inputs].map(([name, { dataType, shape, data }]) => ({
    name,
    dataType,
    shape,
    numbers: data,
  }));
  const [results = []] = await runCase(cpu, fn, given);
  expect(results.length, what).toBe(expected.length);
  expected.forEach((tensor, index) => {
    const result = results[index];
    if (result === undefined) return;
    const { dataType, shape, data } = fixtureHostTensor(tensor);
    expect(result.dataType, what).toBe(dataType);
    const scale = data.reduce(
      (most, value) => (Number.isFinite(value) ? Math.max(most, Math.abs(value)) : most),
      1,
    );
    const actual = hostTensor(dataType, shape, Float64Array.from(result.numbers));
    const tolerance = example.tolerance ?? (TOLERANCE[dataType] ?? 0) * scale;
    expect(firstDifference(actual, tensor, tolerance), `${what}, result ${index}`).toBeUndefined();
  });
  return undefined;
}
