import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createEngine } from "../../src/engine/create.ts";
import { Decoder } from "../../src/generate/decoder.ts";
import { loadWeightPlan } from "../../src/generate/weight-plan.ts";
import {
  initialiseWeight,
  modelOf,
  openModel,
  parseModelConfig,
  saveWeights,
  writeModelConfig,
} from "../../src/model/index.ts";
import { elementCount, staticShape } from "../../src/mil/types.ts";
import { readNpyFile, writeNpyFile } from "../../src/files/npy.ts";
import { Random } from "../../src/util/random.ts";
import { runCli, temporaryFolder, tinyTraining } from "../helpers/cli.ts";
import { FAMILY_JSON } from "../model/configs.ts";
import { run, runJson } from "./in-process.ts";

const [B, S] = [2, 9];

/** A folder with weights large enough that logits differ. */
function modelFolder(folder: string, json: Record<string, unknown>) {
  const config = parseModelConfig(json);
  mkdirSync(folder);
  writeModelConfig(folder, config);
  const numbers = new Map(
    modelOf(config).parameters.weights.map((weight) => {
      const values = new Float32Array(elementCount(staticShape(weight.type)));
      initialiseWeight(weight, 5, values);
      if (weight.decays) values.forEach((value, index) => (values[index] = value * 8));
      return [weight.name, values];
    }),
  );
  saveWeights(
    folder,
    modelOf(config).parameters,
    (name) => numbers.get(name) ?? new Float32Array(),
  );
  return config;
}

test.each(FAMILY_JSON)(
  "a $model_type folder becomes a program whose logits are those of the CPU engine's own plans",
  async (json) => {
    const folder = temporaryFolder();
    const model = join(folder, "model");
    const config = modelFolder(model, json);
    const random = new Random(1);
    const tokens = Int32Array.from({ length: B * S }, () => random.below(config.vocabularySize));
    writeNpyFile(join(folder, "tokens.npy"), { type: "i4", shape: [B, S], data: tokens });

    const expected: number[] = [];
    const engine = await createEngine("cpu", { threads: 1 });
    const weights = await loadWeightPlan(engine, openModel(model));
    for (let sequence = 0; sequence < B; sequence++) {
      const decoder = new Decoder({ engine, model: modelOf(config), weights });
      const text = decoder.sequence();
      for (const token of tokens.subarray(sequence * S, (sequence + 1) * S)) {
        expected.push(...(await decoder.append(text, [token])));
      }
      await decoder.close();
    }
    await weights.close();
    await engine.close();

    for (const ending of ["onnx", "mil", "mlpackage"]) {
      const program = join(folder, `forward.${ending}`);
      const sizes = ["--batch-size", String(B), "--max-seq-length", String(S)];
      const written = await run("convert", model, program, ...sizes);
      expect(written.code, written.stderr).toBe(0);
      expect((await run("check", program)).code).toBe(0);
      const input = `tokens=${join(folder, "tokens.npy")}`;
      const out = join(folder, ending);
      const ran = await run("run", program, "--engine", "cpu", "--input", input, "--output", out);
      expect(ran.code, ran.stderr).toBe(0);
      const { shape, data } = readNpyFile(join(out, "logits.npy"));
      expect(shape).toEqual([B, S, config.vocabularySize]);
      const apart = expected.map((value, index) => Math.abs(value - Number(data[index])));
      expect(Math.max(...apart)).toBeLessThan(1e-4);
      expect(Math.max(...expected.map(Math.abs))).toBeGreaterThan(0.1);
    }
  },
);

test("inspect tells of a model folder and of a run, and other commands say what to do with one", async () => {
  const folder = temporaryFolder();
  const trained = join(folder, "run");
  const training = [...tinyTraining(folder, trained, []), "--max-steps", "2"];
  expect(await runCli(training)).toMatchObject({ code: 0 });
  const report = await runJson("inspect", trained);
  expect(report).toMatchObject({
    format: "run",
    folder: join(trained, "checkpoint-2"),
    config: { model_type: "gpt2", n_embd: 16, vocab_size: 257 },
    tokenizer: { vocabulary_size: 257 },
    checkpoints: [{ step: 2 }],
  });
  const names = (report["weights"] as readonly { name: string }[]).map(({ name }) => name);
  expect(names).toContain("transformer.wte.weight");
  const { stdout } = await run("inspect", join(trained, "checkpoint-2"));
  expect(stdout).toMatch(/family: gpt2\n {2}parameters: \d+/);
  for (const command of ["check", "run", "estimate"]) {
    const refused = await run(command, trained);
    expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining("convert") });
  }
  const onnx = join(folder, "m.onnx");
  const long = await run("convert", trained, onnx, "--max-seq-length", "99");
  expect(long).toMatchObject({ code: 2, stderr: expect.stringContaining("context of 16") });
  const rope_scaling = {
    ...{ rope_type: "dynamic", factor: 2, original_max_position_embeddings: 8 },
  };
  const dynamic = join(folder, "dynamic");
  modelFolder(dynamic, { ...FAMILY_JSON[0], rope_scaling });
  const padded = await run("convert", dynamic, onnx, "--max-seq-length", "9");
  expect(padded).toMatchObject({
    ...{ code: 2, stderr: expect.stringContaining("dynamic rope scaling changes all turns") },
  });
  const described = await run("inspect", dynamic);
  expect(described.stdout).toContain("texts end at 8 (dynamic rope scaling)");
  writeFileSync(join(folder, "x.mil"), "program(1.3)\n{\n}\n");
  const sizes = await run("convert", join(folder, "x.mil"), onnx, "--batch-size", "2");
  expect(sizes).toMatchObject({ code: 2, stderr: expect.stringContaining("--shape") });
});
