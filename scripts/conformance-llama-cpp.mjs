// GGUF files between this project and llama.cpp, by greedy texts: a model of each family with drawn weights is written
// as a file and continued by both. llama.cpp multiplies quantized weights with activations of 8 bits, so a quantized file,
// ours or its own quantizer's, is continued here as it stands and there as llama.cpp itself unpacks it to fp32.
// llama.cpp comes from the npm package node-llama-cpp, which is no dependency of this project (700 MB): install it
// anywhere (`npm install --ignore-scripts node-llama-cpp`) and say where. One row a file, exit 1 if one differs.
//
//   npm run conformance:llama-cpp -- --package /somewhere/node_modules/node-llama-cpp [--only qwen3,llama] [--json]
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import koffi from "koffi";
import { exportGguf, openModel } from "../dist/index.js";
import { DRAWN_PROMPT, makeDrawnModel } from "./drawn-models.mjs";
import { chosenModels, foreignOptions } from "./foreign-library.mjs";

const values = await foreignOptions({
  flag: "package",
  missing: "node-llama-cpp is installed",
  tokens: { type: "string", default: "40" },
});

/** llama.cpp's numbers of the quantizations that this project reads (llama_ftype), and of none. */
const QUANTIZED = { Q4_0: 2, Q8_0: 7, Q4_K_M: 15, Q6_K: 18 };
const UNQUANTIZED = 0;

const { getLlama } = await import(pathToFileURL(resolve(values.package, "dist/index.js")).href);
const llama = await getLlama({ build: "never", gpu: false, logLevel: "error" });

/** Ids that llama.cpp writes greedily, on one thread (its threads spin), and those of the prompt. */
async function llamaTokens(path, count) {
  const model = await llama.loadModel({ modelPath: path });
  const context = await model.createContext({ contextSize: 128, threads: 1 });
  try {
    const begin = model.tokens.shouldPrependBosToken ? [model.tokens.bos] : [];
    const prompt = [...begin, ...model.tokenize(DRAWN_PROMPT)];
    const written = [];
    for await (const token of context.getSequence().evaluate(prompt, { temperature: 0 })) {
      written.push(token);
      if (written.length >= count) break;
    }
    return { text: model.detokenize(written), promptLength: prompt.length };
  } finally {
    await context.dispose();
    await model.dispose();
  }
}

/**
 * llama.cpp's own quantizer, through its C interface. Its parameters begin with threads and type; after two more types of
 * 4 bytes stands whether what is quantized may be quantized again.
 */
function quantizer() {
  const bins = resolve(values.package, "../@node-llama-cpp", `linux-${process.arch}`, "bins");
  const folder = join(bins, readdirSync(bins)[0]);
  const name = readdirSync(folder).find((file) => /^libllama\.v.*\.so$/.test(file));
  const library = koffi.load(join(folder, name));
  const rest = koffi.array("uint8_t", 1024);
  koffi.struct("QuantizeParameters", { thread_count: "int32_t", file_type: "int32_t", rest });
  const defaults = library.func("QuantizeParameters llama_model_quantize_default_params()");
  const quantize = library.func(
    "uint32_t llama_model_quantize(const char *from, const char *to, const QuantizeParameters *how)",
  );
  const parameters = (fileType) => {
    const { rest: others } = defaults();
    others[8] = 1;
    return { thread_count: 1, file_type: fileType, rest: others };
  };
  return (from, to, fileType) => {
    const status = quantize(from, to, parameters(fileType));
    if (status !== 0) throw new Error(`llama_model_quantize gave ${status} for ${to}`);
  };
}

const folder = mkdtempSync(join(tmpdir(), "anecdote-llama-cpp-"));
const rows = [];
async function compare(name, path, readByThem = path) {
  const count = Number(values.tokens);
  const theirs = await llamaTokens(readByThem, count);
  const ours = await openModel(path).generate(DRAWN_PROMPT, {
    temperature: 0,
    maxTokens: count,
    engine: "cpu",
  });
  const row = { name, equal: ours.text === theirs.text, promptLength: theirs.promptLength };
  rows.push(row);
  if (!values.json) console.log(`${name.padEnd(24)} ${row.equal ? "equal" : "DIFFERS"}`);
  if (!row.equal)
    console.error(`  ours   ${JSON.stringify(ours.text)}\n  theirs ${JSON.stringify(theirs.text)}`);
}

function unpacked(quantize, path) {
  const plain = `${path}.f32.gguf`;
  quantize(path, plain, UNQUANTIZED);
  return plain;
}

try {
  const quantize = quantizer();
  for (const model of chosenModels(values)) {
    const from = await makeDrawnModel(folder, model);
    for (const type of model.name === "llama" ? ["f32", "f16", "q8_0", "q4_0"] : ["f32"]) {
      const path = join(folder, `${model.name}-${type}.gguf`);
      exportGguf(from, path, { type });
      const isPlain = type === "f32" || type === "f16";
      await compare(`${model.name} ${type}`, path, isPlain ? path : unpacked(quantize, path));
    }
    if (model.name !== "llama") continue;
    for (const [type, number] of Object.entries(QUANTIZED)) {
      const path = join(folder, `${model.name}-theirs-${type}.gguf`);
      quantize(join(folder, "llama-f32.gguf"), path, number);
      await compare(`${model.name} ${type} of llama.cpp`, path, unpacked(quantize, path));
    }
  }
  const differing = rows.filter(({ equal }) => !equal).length;
  const summary = { llamaCpp: llama.llamaCppRelease.release, files: rows.length, differing };
  console.log(
    values.json
      ? JSON.stringify({ ...summary, rows })
      : `${rows.length} files, ${differing} differ (llama.cpp ${summary.llamaCpp})`,
  );
  process.exitCode = differing > 0 ? 1 : 0;
} finally {
  await llama.dispose();
  rmSync(folder, { recursive: true, force: true });
}
