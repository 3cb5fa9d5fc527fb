// Where the time of a training step goes inside ONNX Runtime: its own profile of every session, summed by operator
// and by operand shapes.
//   node bench/profile-graphs.mjs [--family gpt2 --layers 6 --heads 6 --channels 384 --vocab 8192 --batch 4 --context 256
//                                  --threads 2 --steps 5 --join auto|always|never --blas auto|off|PATH --top 30]
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createCpuEngine } from "../dist/engine/cpu/index.js";
import { initialiseWeights, modelOf, parseModelConfig } from "../dist/model/index.js";
import { processorOptions } from "../dist/train/step/processor-options.js";
import { buildTrainingPlan } from "../dist/train/step/step-plan.js";

const { values } = parseArgs({
  options: {
    family: { type: "string", default: "gpt2" },
    layers: { type: "string", default: "6" },
    heads: { type: "string", default: "6" },
    channels: { type: "string", default: "384" },
    vocab: { type: "string", default: "8192" },
    batch: { type: "string", default: "4" },
    context: { type: "string", default: "256" },
    threads: { type: "string", default: "2" },
    steps: { type: "string", default: "5" },
    join: { type: "string", default: "auto" },
    blas: { type: "string", default: "auto" },
    top: { type: "string", default: "30" },
  },
});
const [layers, heads, channels, vocab, batch, context, threads, steps, top] = [
  "layers",
  "heads",
  "channels",
  "vocab",
  "batch",
  "context",
  "threads",
  "steps",
  "top",
].map((name) => Number(values[name]));

const config = parseModelConfig(
  values.family === "llama"
    ? {
        model_type: "llama",
        hidden_size: channels,
        intermediate_size: Math.ceil((channels * 8) / 3 / 32) * 32,
        num_hidden_layers: layers,
        num_attention_heads: heads,
        num_key_value_heads: heads,
        vocab_size: vocab,
        max_position_embeddings: context,
        tie_word_embeddings: true,
        rms_norm_eps: 1e-5,
      }
    : {
        model_type: "gpt2",
        n_embd: channels,
        n_layer: layers,
        n_head: heads,
        n_positions: context,
        vocab_size: vocab,
        activation_function: "gelu_new",
      },
);
const folder = mkdtempSync(join(tmpdir(), "anecdote-profile-"));
const engine = await createCpuEngine({
  threads,
  join: values.join,
  blas: values.blas,
  profilePrefix: join(folder, "session"),
});
const { plan, model } = buildTrainingPlan({
  model: modelOf(config),
  batchSize: batch,
  sequenceLength: context,
  accumulation: false,
  recompute: "auto",
  ...processorOptions(context),
});
const loaded = await engine.load(plan);
initialiseWeights(model.parameters.weights, 1, (name) => loaded.view(name));
const tokens = loaded.view("tokens");
const targets = loaded.view("targets");
for (let i = 0; i < tokens.length; i++) {
  tokens[i] = (i * 7919) % vocab;
  targets[i] = (i * 104729) % vocab;
}
loaded.view("loss_scale")[0] = 1 / tokens.length;
const scalars = {
  learning_rate: 1e-4,
  weight_decay: 0.1,
  bias_correction1: 0.1,
  bias_correction2: 0.05,
  gradient_scale: 1,
};
for (const [name, value] of Object.entries(scalars)) loaded.view(name)[0] = value;
for (let step = 0; step < steps; step++)
  for (const section of ["forward_backward", "gradient_norm", "update"]) await loaded.run(section);
const timings = loaded.timings();
await engine.close();

/** What a node is for, by its operator and the widths of its operands. */
function kindOf(operator, shapes) {
  const is = (...names) => names.includes(operator);
  const widths = shapes.map((shape) => shape.at(-1) ?? 1);
  const ranks = shapes.map((shape) => shape.length);
  if (is("Gemm", "Product", "ProductSum")) return "products of matrices";
  if (is("MatMul", "FusedMatMul")) return "products of attention";
  if (is("Transpose", "Split", "Concat", "Slice", "Pad", "Reshape", "Expand")) return "moves";
  if (is("Gather") || is("ScatterND")) return "embeddings";
  if (widths.includes(vocab)) return "cross entropy";
  if (Math.max(...ranks) >= 4) return "softmax of attention, mask, scale";
  if (widths[0] > channels && widths[0] < vocab) return "activation and its derivative";
  return "norms, residuals, biases";
}

const byKind = new Map();
const byOperator = new Map();
const byShapes = new Map();
const count = (map, key, ms) => {
  const entry = map.get(key) ?? { ms: 0, calls: 0 };
  entry.ms += ms;
  entry.calls++;
  map.set(key, entry);
};
for (const file of readdirSync(folder)) {
  for (const event of JSON.parse(readFileSync(join(folder, file), "utf8"))) {
    if (event.cat !== "Node" || !event.name.endsWith("_kernel_time")) continue;
    const shapes = (event.args.input_type_shape ?? []).map((shape) => Object.values(shape)[0]);
    count(byKind, kindOf(event.args.op_name, shapes), event.dur / 1000);
    count(byOperator, event.args.op_name, event.dur / 1000);
    count(byShapes, `${event.args.op_name} ${JSON.stringify(shapes)}`, event.dur / 1000);
  }
}
rmSync(folder, { recursive: true, force: true });

const print = (title, map) => {
  const total = [...map.values()].reduce((sum, { ms }) => sum + ms, 0);
  console.log(`\n${title}: ${(total / steps).toFixed(1)} ms a step`);
  const rows = [...map].toSorted(([, a], [, b]) => b.ms - a.ms).slice(0, top);
  for (const [key, { ms, calls }] of rows) {
    const share = ((100 * ms) / total).toFixed(1);
    console.log(
      `${(ms / steps).toFixed(2).padStart(9)} ms ${share.padStart(5)} % ${String(Math.round(calls / steps)).padStart(4)}x  ${key}`,
    );
  }
};
print("by kind", byKind);
print("by operator", byOperator);
print("by operand shapes", byShapes);
console.log("\nsteps of the plan, ms");
for (const { section, label, runs, elapsedMs } of timings)
  console.log(`${(elapsedMs / runs).toFixed(2).padStart(9)}  ${section}: ${label}`);
