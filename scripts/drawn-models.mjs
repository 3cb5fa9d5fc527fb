// Models of each family with drawn weights, for scripts that hold this project against another program.
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { train } from "../dist/index.js";

export const DRAWN_PROMPT = "Once upon a time there was a cat named Tom, who was 12.  She said: ";

const LLAMA = { family: "llama", kv_heads: 2 };
/** Families, each with what its configuration gains after the training. */
export const DRAWN_MODELS = [
  { name: "llama", settings: LLAMA },
  { name: "llama-linear", settings: LLAMA, rope_scaling: { rope_type: "linear", factor: 2 } },
  {
    name: "llama-llama3",
    settings: LLAMA,
    rope_scaling: {
      ...{ rope_type: "llama3", factor: 8, low_freq_factor: 1, high_freq_factor: 4 },
      original_max_position_embeddings: 32,
    },
  },
  {
    name: "llama-yarn",
    settings: LLAMA,
    rope_scaling: { rope_type: "yarn", factor: 4, original_max_position_embeddings: 32 },
  },
  { name: "mistral", settings: { family: "mistral" } },
  { name: "qwen2", settings: { family: "qwen2" } },
  { name: "qwen3", settings: { family: "qwen3" } },
  { name: "gemma", settings: { family: "gemma" } },
  { name: "gemma2", settings: { family: "gemma2" }, sliding_window: 16 },
  { name: "gemma3_text", settings: { family: "gemma3_text" }, sliding_window: 16 },
  { name: "gpt2", settings: { family: "gpt2" } },
];

/** A seeded source of normal numbers (Box and Muller over a 32-bit generator). */
function normals(seed) {
  let state = seed >>> 0;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 0.5) / 2 ** 32;
  };
  return () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
}

/** Draws the weights of a safetensors file anew, so large that no text repeats itself and every switch shows. */
export function drawWeights(path) {
  const bytes = readFileSync(path);
  const headerLength = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.subarray(8, 8 + headerLength).toString());
  const normal = normals(7);
  for (const [name, tensor] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const [from, to] = tensor.data_offsets.map((offset) => 8 + headerLength + offset);
    const isTable = /embed|wte|wpe/.test(name);
    const isMatrix = tensor.shape.length === 2;
    const spread = isTable ? 0.1 : isMatrix ? 1.5 / Math.sqrt(tensor.shape[1]) : 0.3;
    for (let at = from; at < to; at += 4) {
      const kept = isMatrix ? 0 : bytes.readFloatLE(at);
      bytes.writeFloatLE(kept + spread * normal(), at);
    }
  }
  writeFileSync(path, bytes);
}

/** Trains for one step, draws the weights anew, and gives the folder of the model. */
export async function makeDrawnModel(folder, { name, settings, ...changes }) {
  const run = await train({
    ...{ data: "stories", story_count: 600, tokenizer: "bpe", vocab_size: 512, engine: "cpu" },
    ...{ layers: 3, hidden_size: 256, heads: 4, ffn_size: 512, max_seq_length: 128 },
    ...{ max_steps: 1, batch_size: 1, eval_steps: 0, output_dir: join(folder, name) },
    ...settings,
  });
  await run.finished();
  const model = join(folder, name, "checkpoint-1");
  const config = join(model, "config.json");
  writeFileSync(
    config,
    JSON.stringify({ ...JSON.parse(readFileSync(config, "utf8")), ...changes }),
  );
  drawWeights(join(model, "model.safetensors"));
  rmSync(join(model, "checksums.json"), { force: true });
  return model;
}
