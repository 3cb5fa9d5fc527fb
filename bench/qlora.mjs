// QLoRA against LoRA: a small llama is trained on the built-in stories, then tuned on another text (this project's
// documentation, or --data FILE), once beside fp32 and once beside 4 and 8 bits, with the same data, seeds and settings.
// Prints the loss on the part that is held out, and the ratio. npm run build first.
//
//   node bench/qlora.mjs [--steps 400] [--base-steps 800] [--data FILE] [--seeds 1,2] [--json]
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { train } from "../dist/index.js";

const { values } = parseArgs({
  options: {
    steps: { type: "string", default: "400" },
    "base-steps": { type: "string", default: "800" },
    data: { type: "string" },
    seeds: { type: "string", default: "1,2" },
    json: { type: "boolean", default: false },
  },
});

const METHODS = [
  { name: "LoRA", method: "lora" },
  { name: "QLoRA, 8 bits", method: "qlora", base_bits: "8", base_group_size: 64 },
  { name: "QLoRA, 4 bits", method: "qlora", base_bits: "4", base_group_size: 64 },
];

const folder = mkdtempSync(join(tmpdir(), "anecdote-qlora-"));
const docs = new URL("../docs/", import.meta.url);

function otherText() {
  if (values.data !== undefined) return values.data;
  const path = join(folder, "docs.txt");
  const names = readdirSync(docs).filter((name) => name.endsWith(".md"));
  writeFileSync(path, names.map((name) => readFileSync(new URL(name, docs), "utf8")).join("\n"));
  return path;
}

/** Runs a training and gives the first and the last loss on what is held out, and the processor's seconds. */
async function run(settings) {
  const before = process.cpuUsage();
  const losses = [];
  const training = await train(
    { engine: "cpu", threads: 2, max_seq_length: 128, batch_size: 4, save_steps: 0, ...settings },
    { onEvent: (event) => event.kind === "eval" && losses.push(event.eval_loss) },
  );
  const end = await training.finished();
  const { user, system } = process.cpuUsage(before);
  return { first: losses[0], last: end.eval_loss, processorSeconds: (user + system) / 1e6 };
}

try {
  const data = otherText();
  const base = join(folder, "base");
  const pretraining = await run({
    ...{ data: "stories", story_count: 4000, tokenizer: "bpe", vocab_size: 1024 },
    ...{ layers: 4, hidden_size: 128, heads: 4, ffn_size: 384 },
    ...{ max_steps: Number(values["base-steps"]), learning_rate: 3e-3, eval_steps: 0 },
    output_dir: base,
  });
  const rows = [];
  for (const seed of values.seeds.split(",").map(Number)) {
    for (const { name, ...method } of METHODS) {
      const result = await run({
        ...{ model: base, data, lora_rank: 16, learning_rate: 2e-3, weight_decay: 0 },
        ...{ max_steps: Number(values.steps), eval_steps: 0, eval_on_start: true, seed, ...method },
        output_dir: join(folder, `${name}-${seed}`.replaceAll(/[^A-Za-z0-9]+/g, "-")),
      });
      const lora = rows.find((row) => row.seed === seed && row.name === "LoRA") ?? result;
      rows.push({ seed, name, ...result, ratio: result.last / lora.last });
    }
  }
  if (values.json) console.log(JSON.stringify({ pretraining, rows }));
  else {
    console.log(`base: eval_loss ${pretraining.last.toFixed(4)} on stories`);
    for (const { seed, name, first, last, ratio, processorSeconds } of rows) {
      const share = `${(100 * (ratio - 1)).toFixed(2)} %`;
      console.log(
        `seed ${seed}  ${name.padEnd(14)} ${first.toFixed(4)} -> ${last.toFixed(4)}  against LoRA ${share.padStart(7)}  ${processorSeconds.toFixed(0)} s of processor time`,
      );
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
