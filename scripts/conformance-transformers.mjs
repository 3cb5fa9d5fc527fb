// Folders of `convert --to onnx` opened by @huggingface/transformers for JavaScript: a model of each family with drawn
// weights is written as a folder, and what the library generates greedily from it, without a network, is held against
// what this project writes from the model itself. Two prompts as one batch, filled up at the front, are held against the
// same alone. The library is no dependency (475 MB with its runtime): install it anywhere
// (`npm install --ignore-scripts @huggingface/transformers`) and say where. One row a file, exit 1 if one differs; texts of
// weights in fewer bits may part from fp32's, so there it is told how long they are the same.
//
//   npm run conformance:transformers -- --package /somewhere/node_modules/@huggingface/transformers [--only qwen3,llama] [--json]
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { exportOnnxFolder, openModel, train } from "../dist/index.js";
import { DRAWN_PROMPT, drawWeights, makeDrawnModel } from "./drawn-models.mjs";
import { chosenModels, foreignOptions } from "./foreign-library.mjs";

const values = await foreignOptions({
  flag: "package",
  missing: "@huggingface/transformers is installed",
  tokens: { type: "string", default: "40" },
});

const library = await import(
  pathToFileURL(resolve(values.package, "dist/transformers.node.mjs")).href
);
const { AutoModelForCausalLM, AutoTokenizer, env, pipeline } = library;
env.allowRemoteModels = false;
env.allowLocalModels = true;

const COUNT = Number(values.tokens);
const HOW = { max_new_tokens: COUNT, do_sample: false };
const SHORT_PROMPT = "Tom said: ";
const folder = mkdtempSync(join(tmpdir(), "anecdote-transformers-"));
env.localModelPath = folder;
const rows = [];

function tell(row) {
  rows.push(row);
  if (values.json) return;
  const result = row.judged
    ? row.equal
      ? "equal"
      : "DIFFERS"
    : `${row.alike} of ${row.tokens} alike`;
  console.log(`${row.name.padEnd(28)} ${result}`);
  if (row.judged && !row.equal)
    console.error(`  ours   ${JSON.stringify(row.ours)}\n  theirs ${JSON.stringify(row.theirs)}`);
}

/** Ids that the library writes behind each prompt, which are one batch, filled up at the front. */
async function theirs(output, dtype, prompts) {
  const tokenizer = await AutoTokenizer.from_pretrained(output);
  tokenizer.padding_side = "left";
  const model = await AutoModelForCausalLM.from_pretrained(output, { dtype });
  try {
    const inputs = tokenizer(prompts, { padding: true });
    const width = inputs.input_ids.dims[1];
    const ids = (await model.generate({ ...inputs, ...HOW })).tolist();
    return ids.map((row) => {
      const written = row.slice(width).map(Number);
      return { written, text: tokenizer.decode(written, { skip_special_tokens: true }) };
    });
  } finally {
    await model.dispose();
  }
}

async function compare(name, from, more = {}) {
  const output = join(folder, `onnx-${name}`);
  exportOnnxFolder(from, output, more);
  const adapter = more.adapters === undefined ? {} : { adapters: more.adapters };
  const write = async (prompt) => {
    const how = { temperature: 0, maxTokens: COUNT, engine: "cpu", ...adapter };
    const { text } = await openModel(from).generate(prompt, how);
    return text;
  };
  const [whole] = await theirs(output, "fp32", [DRAWN_PROMPT]);
  const ours = await write(DRAWN_PROMPT);
  tell({ name, judged: true, equal: ours === whole.text, ours, theirs: whole.text });
  return { output, whole };
}

/** A LoRA adapter of a model, its matrices drawn. */
async function drawnAdapter(model) {
  const run = await train({
    ...{ model, method: "lora", data: "stories", story_count: 600, engine: "cpu" },
    ...{ max_steps: 1, batch_size: 1, eval_steps: 0, output_dir: join(folder, "adapter") },
  });
  await run.finished();
  const adapter = join(folder, "adapter", "checkpoint-1");
  const file = ["adapter_model.safetensors", "adapters.safetensors"]
    .map((name) => join(adapter, name))
    .find((path) => existsSync(path));
  drawWeights(file);
  rmSync(join(adapter, "checksums.json"), { force: true });
  return adapter;
}

/** Whether a model's head shares the token table. */
function isTied(model) {
  return JSON.parse(readFileSync(join(model, "config.json"), "utf8")).tie_word_embeddings === true;
}

try {
  for (const described of chosenModels(values)) {
    const { name } = described;
    const from = await makeDrawnModel(folder, described);
    const { output, whole } = await compare(name, from);
    const [long, short] = await theirs(output, "fp32", [DRAWN_PROMPT, SHORT_PROMPT]);
    const [alone] = await theirs(output, "fp32", [SHORT_PROMPT]);
    const isEqual = long.text === whole.text && short.text === alone.text;
    const batch = { ours: [whole.text, alone.text], theirs: [long.text, short.text] };
    tell({
      name: `${name} as a batch`,
      judged: true,
      equal: isEqual,
      tied: isTied(from),
      ...batch,
    });
    if (name === "llama") {
      for (const type of ["fp16", "q8"]) {
        exportOnnxFolder(from, output, { type });
        const [{ written }] = await theirs(output, type, [DRAWN_PROMPT]);
        const first = written.findIndex((id, at) => id !== whole.written[at]);
        const alike = first === -1 ? written.length : first;
        tell({ name: `${name} ${type}`, judged: false, alike, tokens: whole.written.length });
      }
      const write = await pipeline("text-generation", output);
      const [answer] = await write(DRAWN_PROMPT, { ...HOW, return_full_text: false });
      const theirsText = answer.generated_text;
      await write.dispose();
      tell({
        ...{ name: `${name} by pipeline`, judged: true, equal: theirsText === whole.text },
        ...{ ours: whole.text, theirs: theirsText },
      });
      const places = { inlineByteLength: 0, dataByteLength: 1 << 20 };
      const beside = join(folder, "beside");
      const { files } = exportOnnxFolder(from, beside, { places });
      const [apart] = await theirs(beside, "fp32", [DRAWN_PROMPT]);
      tell({
        ...{ name: `${name} in ${files.length} files`, judged: true },
        ...{ equal: apart.text === whole.text, ours: whole.text, theirs: apart.text },
      });
      await compare(`${name} with an adapter`, from, {
        adapters: [{ folder: await drawnAdapter(from), weight: 1 }],
      });
    }
  }
  const judged = rows.filter((row) => row.judged);
  const differing = judged.filter(({ equal }) => !equal).length;
  const summary = { transformers: env.version, compared: judged.length, differing };
  console.log(
    values.json
      ? JSON.stringify({ ...summary, rows })
      : `${judged.length} texts of ${COUNT} tokens, ${differing} differ (@huggingface/transformers ${env.version})`,
  );
  process.exitCode = differing > 0 ? 1 : 0;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
