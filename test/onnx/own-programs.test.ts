import { expect, test } from "vitest";
import { evaluateFunction } from "../../src/engine/reference/evaluate.ts";
import { buildDecodePlan } from "../../src/generate/decode-plan.ts";
import type { MilFunction } from "../../src/mil/program.ts";
import { verifyProgram } from "../../src/mil/verify.ts";
import { exportOnnx } from "../../src/onnx/export-model.ts";
import { importOnnx } from "../../src/onnx/import/import-model.ts";
import { parseOnnx } from "../../src/onnx/read-model.ts";
import {
  planOf,
  plannedModel,
  trainedModel,
  presetOf,
  resolveTrainConfig,
} from "../../src/train/index.ts";
import { Random } from "../../src/util/random.ts";
import { randomInputs, relativeDifference } from "../helpers/tensors.ts";

/** Every program of a training step and of decoding, in small. */
function programsOf(preset: string, more: Readonly<Record<string, number>>): MilFunction[] {
  const sizes = { preset, max_seq_length: 8, batch_size: 2, ...more };
  const { config } = resolveTrainConfig(presetOf(preset).settings, [
    { origin: "test", values: sizes },
  ]);
  const model = trainedModel(config, plannedModel(config));
  const step = planOf(config, model).plan;
  const decode = buildDecodePlan({ model, bucket: 8, prefillRowCount: 2 });
  return [...step.programs.values(), ...decode.programs.values()].map(({ function: fn }) => fn);
}

test.each([
  ["nanogpt-char", {}],
  ["storyteller", { vocab_size: 300 }],
])("the programs of %s become ONNX and come back with the same results", (preset, more) => {
  const random = new Random(4);
  const programs = programsOf(preset, more);
  expect(programs.length).toBeGreaterThan(10);
  for (const fn of programs) {
    const program = importOnnx(parseOnnx(exportOnnx(fn).bytes));
    verifyProgram(program);
    const [back] = program.functions;
    if (back === undefined) throw new Error("no function came back");
    const inputs = randomInputs(fn, random);
    for (const { data, dataType } of inputs.values()) {
      // Second moments and corrections are positive; one index may have a single row to choose from.
      if (fn.name.startsWith("adamw")) data.forEach((x, i) => (data[i] = Math.abs(x) + 0.1));
      if (dataType === "int32" && data.length === 1) data.fill(0);
    }
    const renamed = new Map(
      back.inputs.map(({ name }, index) => {
        const tensor = inputs.get(fn.inputs[index]?.name ?? "");
        if (tensor === undefined) throw new Error(`no tensor for "${name}"`);
        return [name, tensor];
      }),
    );
    const wanted = [...evaluateFunction(fn, inputs).values()];
    const got = [...evaluateFunction(back, renamed).values()];
    wanted.forEach((tensor, index) => {
      const other = got[index];
      if (other === undefined) throw new Error(`${fn.name} lost a result`);
      expect(relativeDifference(tensor, other), fn.name).toBeLessThan(1e-4);
    });
  }
});
