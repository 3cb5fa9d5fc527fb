import { describe, expect, it } from "vitest";
import { buildDecodePlan } from "../../src/generate/decode-plan.ts";
import type { MilFunction } from "../../src/mil/program.ts";
import { modelOf, parseModelConfig } from "../../src/model/index.ts";
import { functionToOnnx } from "../../src/onnx/lower-function.ts";
import { LLAMA_JSON } from "../model/configs.ts";

/** A block of a decoding step: two norms, seven matrices. */
function block(): MilFunction {
  const model = modelOf(parseModelConfig(LLAMA_JSON));
  const plan = buildDecodePlan({ model, bucket: 24, prefillRowCount: 5 });
  const found = plan.programs.get("decode_block")?.function;
  if (found === undefined) throw new Error("there is no block");
  return found;
}

const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");

describe("constants whose numbers are given when a model is opened", () => {
  it("stand in the model by name and shape, without numbers, and are no inputs", () => {
    const fn = block();
    const matrices = fn.inputs
      .filter(({ name, type }) => name.endsWith("weight") && formatIsMatrix(type))
      .map(({ name }) => name);
    expect(matrices).toHaveLength(7);
    const given = functionToOnnx(fn, { given: new Set(matrices) });
    const plain = functionToOnnx(fn);
    for (const name of matrices) expect(textOf(given.bytes)).toContain(`in:${name}`);
    // Numbers of the smallest matrix alone would be longer than what the model grows by.
    expect(given.bytes.length - plain.bytes.length).toBeLessThan(4 * 16 * 8);
  });

  it("let norms be one operator each, which others than readers do not have", () => {
    const fn = block();
    const count = (text: string): number => text.split("SimplifiedLayerNormalization").length - 1;
    const given = new Set(fn.inputs.slice(-1).map(({ name }) => name));
    expect(count(textOf(functionToOnnx(fn).bytes))).toBe(0);
    expect(count(textOf(functionToOnnx(fn, { given }).bytes))).toBeGreaterThanOrEqual(2);
  });
});

function formatIsMatrix(type: MilFunction["inputs"][number]["type"]): boolean {
  return type.kind === "tensor" && type.shape.length === 2;
}
