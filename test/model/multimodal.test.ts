import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { elementCount, staticShape } from "../../src/mil/types.ts";
import {
  loadWeights,
  modelOf,
  openSafetensors,
  parseModelConfig,
  readModelConfig,
  writeSafetensors,
} from "../../src/model/index.ts";
import { openFileSource } from "../../src/util/byte-source.ts";

const TEXT = fileURLToPath(new URL("../fixtures/families/gemma3", import.meta.url));

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "anecdote-pictures-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function numbersOf(place: string): ReadonlyMap<string, Float32Array> {
  const model = modelOf(readModelConfig(place));
  const numbers = new Map(
    model.parameters.weights.map(({ name, type }) => [
      name,
      new Float32Array(elementCount(staticShape(type))),
    ]),
  );
  loadWeights(place, model, (name) => numbers.get(name) ?? new Float32Array());
  return numbers;
}

it.each([
  ["language_model.model.", "vision_tower.patch.weight"],
  ["model.language_model.", "model.multi_modal_projector.weight"],
])(
  "the text part of a model for pictures is read, its names beginning with %s",
  (prefix, other) => {
    const { architectures, ...text } = JSON.parse(
      readFileSync(join(TEXT, "config.json"), "utf8"),
    ) as Record<string, unknown>;
    expect(architectures).toEqual(["Gemma3ForCausalLM"]);
    const { eos_token_id, bos_token_id, torch_dtype, ...inner } = text;
    writeFileSync(
      join(folder, "config.json"),
      JSON.stringify({
        ...{ model_type: "gemma3", eos_token_id, bos_token_id, torch_dtype },
        ...{ text_config: inner, vision_config: { hidden_size: 8 } },
      }),
    );
    const source = openFileSource(join(TEXT, "model.safetensors"));
    const entries = [...openSafetensors(source).entries.values()];
    writeSafetensors(join(folder, "model.safetensors"), [
      ...entries.map(({ name, dataType, shape, offset, byteLength }) => ({
        ...{ name: name.replace(/^model\./, prefix), dataType, shape },
        chunks: () => [source.read(offset, byteLength)],
      })),
      { name: other, dataType: "F32", shape: [1], chunks: () => [new Uint8Array(4)] },
    ]);
    source.close();
    copyFileSync(join(TEXT, "expected.json"), join(folder, "expected.json"));
    expect(readModelConfig(folder)).toEqual(readModelConfig(TEXT));
    expect(numbersOf(folder)).toEqual(numbersOf(TEXT));
  },
);

it("what a text_config leaves out is as transformers takes it", () => {
  const config = parseModelConfig({
    model_type: "gemma3",
    eos_token_id: [1, 106],
    text_config: {
      ...{ hidden_size: 2560, intermediate_size: 10240, num_hidden_layers: 34 },
      ...{ model_type: "gemma3_text", sliding_window: 1024 },
      rope_scaling: { factor: 8, rope_type: "linear" },
    },
  });
  expect(config).toMatchObject({
    ...{ family: "gemma3_text", vocabularySize: 262_208, headCount: 8, keyValueHeadCount: 4 },
    ...{ headSize: 256, contextLength: 131_072, endTokenIds: [1, 106], tiedHead: true },
    ropeScaling: { kind: "linear", factor: 8 },
  });
  expect(config).toHaveProperty("window.layerKinds.5", "full");
  expect(config).toHaveProperty("window.layerKinds.4", "sliding");
});
