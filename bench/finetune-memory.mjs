// Memory and time of training a model of 1.1 billion numbers (microgpt-1.1b, batch 1, context 512): all weights, LoRA,
// QLoRA with 4 bits, and both with the base in its file under a cap on memory. Each row is a process of its own, `anecdote train` as users start it, that is ended
// after some updates; peak resident memory and its part without mapped files come from /proc, beside what
// `anecdote plan --memory --measure` says. Rows that the results have already are not run again. Linux only.
//
//   npm run bench:finetune-memory -- [--rows "full,lora,qlora,lora from the file"] [--steps 3] [--results FILE] [--folder DIR] [--again] [--json]
//
// `full` needs about 19 GiB of free memory, the base's file 2.2 GB of disk.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { freemem, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { weightOutputs } from "../dist/model/weight-files.js";
import {
  initialiseWeight,
  modelOf,
  writeModelConfig,
  writeSafetensors,
} from "../dist/model/index.js";
import { modelPreset } from "../dist/model/presets.js";

const { values } = parseArgs({
  options: {
    rows: { type: "string", default: "lora,qlora,lora from the file,qlora from the file,full" },
    preset: { type: "string", default: "microgpt-1.1b" },
    context: { type: "string", default: "512" },
    steps: { type: "string", default: "3" },
    results: { type: "string", default: join(tmpdir(), "anecdote-finetune-memory.json") },
    folder: { type: "string", default: join(tmpdir(), "anecdote-finetune-memory") },
    again: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
  },
});
const BIN = fileURLToPath(new URL("../bin/anecdote.mjs", import.meta.url));
const SIZES = ["--batch-size", "1", "--max-seq-length", values.context];
const GIBIBYTE = 2 ** 30;

const FROM_FILE = ["--base-weights", "file", "--recompute", "full"];

/** What each row trains. `full` begins from drawn numbers, the others from the base's file. */
const ROWS = {
  // Kept values of all layers would be 1.4 GiB more.
  full: { method: "full", limitGiB: 24, extra: ["--recompute", "full"] },
  lora: { method: "lora", limitGiB: 8 },
  qlora: { method: "qlora", limitGiB: 3 },
  // The base takes 2.2 GB of file and 4.1 GiB as fp32; the process may have 1.5 GiB of data (prlimit --data).
  "lora from the file": { method: "lora", extra: FROM_FILE, limitGiB: 1.5, isCapped: true },
  "qlora from the file": { method: "qlora", extra: FROM_FILE, limitGiB: 1.5, isCapped: true },
};

const results = existsSync(values.results) ? JSON.parse(readFileSync(values.results, "utf8")) : {};
mkdirSync(values.folder, { recursive: true });

/** A base of drawn numbers as bf16, written matrix by matrix. */
function baseFolder() {
  const folder = join(values.folder, values.preset);
  if (existsSync(join(folder, "model.safetensors"))) return folder;
  mkdirSync(folder, { recursive: true });
  const config = modelPreset(values.preset);
  const { weights } = modelOf(config).parameters;
  const outputs = weights.flatMap((weight) => weightOutputs([weight], () => drawn(weight), "BF16"));
  writeModelConfig(folder, config);
  writeSafetensors(join(folder, "model.safetensors"), outputs);
  return folder;
}

function drawn(weight) {
  const numbers = new Float32Array(weight.type.shape.reduce((count, size) => count * size, 1));
  initialiseWeight(weight, 1, numbers);
  return numbers;
}

function planned(method, extra) {
  const model = extra.includes("file") ? ["--model", baseFolder()] : ["--preset", values.preset];
  const given = ["plan", ...model, "--method", method, ...SIZES, ...extra];
  return new Promise((resolve, reject) => {
    const child = spawn(
      process.execPath,
      [BIN, ...given, "--engine", "cpu", "--memory", "1TiB", "--measure", "--json"],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    let text = "";
    child.stdout.on("data", (piece) => (text += piece));
    child.on("exit", (code) => {
      if (code !== 0) reject(new Error(`plan ended with ${code}`));
      else resolve(JSON.parse(text));
    });
  });
}

/** Runs some updates and ends the process; a checkpoint of all weights would be 13 GB of file. */
function trained(method, extra, dataLimit) {
  const output = join(values.folder, "run");
  rmSync(output, { recursive: true, force: true });
  const given =
    method === "full" ? ["train", "--preset", values.preset] : ["train", "--model", baseFolder()];
  const [command, ...before] =
    dataLimit === undefined
      ? [process.execPath]
      : ["prlimit", `--data=${dataLimit}`, process.execPath];
  const child = spawn(
    command,
    [
      ...before,
      ...[BIN, ...given, "--method", method, ...SIZES, ...extra, "--data", "random"],
      ...["--engine", "cpu", "--max-steps", "1000", "--eval-steps", "0", "--save-steps", "0"],
      ...["--logging-steps", "1", "--output-dir", output, "--json"],
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  let anonymous = 0;
  let resident = 0;
  const sample = () => {
    try {
      const status = readFileSync(`/proc/${child.pid}/status`, "utf8");
      const kibibytes = (name) => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1] ?? 0);
      anonymous = Math.max(anonymous, kibibytes("RssAnon") * 1024);
      resident = Math.max(resident, kibibytes("VmHWM") * 1024);
    } catch {
      // The process is gone.
    }
  };
  const timer = setInterval(sample, 20);
  const losses = [];
  const times = [];
  return new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).on("line", (line) => {
      const event = JSON.parse(line);
      if (event.kind !== "step") return;
      losses.push(event.train_loss);
      times.push(1 / event.iterations_per_second);
      if (event.step < Number(values.steps)) return;
      sample();
      clearInterval(timer);
      child.kill("SIGKILL");
    });
    child.on("exit", (code) => {
      clearInterval(timer);
      rmSync(output, { recursive: true, force: true });
      if (times.length < Number(values.steps)) reject(new Error(`training ended with ${code}`));
      else resolve({ resident, anonymous, losses, seconds: Math.min(...times.slice(1)) });
    });
  });
}

for (const name of values.rows.split(",")) {
  const row = ROWS[name];
  if (row === undefined)
    throw new Error(`no row "${name}"; there are ${Object.keys(ROWS).join(", ")}`);
  const { method, extra = [], limitGiB, isCapped = false } = row;
  const key = `${values.preset} ${values.context} ${name}`;
  if (!values.again && results[key] !== undefined) continue;
  const { fit, measured } = await planned(method, extra);
  const wanted = fit.asked.residentByteLength;
  if (freemem() < wanted)
    console.error(`${name}: ${gib(wanted)} GiB are wanted, ${gib(freemem())} are free`);
  const found = await trained(method, extra, isCapped ? limitGiB * GIBIBYTE : undefined);
  results[key] = {
    ...found,
    plannedBytes: wanted,
    plannedBufferBytes: fit.asked.byteLength,
    plannedSeconds: measured.ms / 1000,
    memoryRatio: found.resident / wanted,
    timeRatio: found.seconds / (measured.ms / 1000),
    ...(limitGiB !== undefined && { limitGiB, isWithin: found.resident < limitGiB * GIBIBYTE }),
  };
  writeFileSync(values.results, `${JSON.stringify(results, null, 2)}\n`);
}

function gib(bytes) {
  return (bytes / GIBIBYTE).toFixed(2);
}

if (values.json) console.log(JSON.stringify(results));
else {
  for (const [key, row] of Object.entries(results)) {
    console.log(
      `${key.padEnd(36)} resident ${gib(row.resident)} GiB (${gib(row.anonymous)} without files), planned ${gib(row.plannedBytes)}: ${row.memoryRatio.toFixed(2)}; ${row.seconds.toFixed(1)} s a step, planned ${row.plannedSeconds.toFixed(1)}: ${row.timeRatio.toFixed(2)}; losses ${row.losses.map((loss) => loss.toFixed(3)).join(" ")}`,
    );
  }
}
