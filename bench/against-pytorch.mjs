// Time and memory of a training step against PyTorch: the same model, the same machine, interleaved.
// Protocol: both processes warm up, then take turns of a few steps each; medians of all steps, the ratio of
// medians, and the ratio turn by turn. PyTorch is tuned as well as we know how: OpenBLAS with OpenMP, jemalloc, and the
// widest vectors that PyTorch has kernels for and this processor runs (--pytorch-capability default|avx2|avx512).
// Needs Debian's python3-torch, libopenblas0-openmp and libjemalloc2.
//   node bench/against-pytorch.mjs [--turns 8] [--steps 4] [--layers 6 --heads 6 --channels 384 --vocab 8192 --batch 4 --context 256]
import { execFileSync, spawn } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import os from "node:os";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { howItEnded, widestCapability } from "./pytorch-process.mjs";

const { values, tokens } = parseArgs({
  tokens: true,
  options: {
    turns: { type: "string", default: "8" },
    steps: { type: "string", default: "4" },
    out: { type: "string" },
    "pytorch-capability": { type: "string" },
    ...Object.fromEntries(
      ["layers", "heads", "channels", "vocab", "batch", "context", "threads"].map((name) => [
        name,
        { type: "string" },
      ]),
    ),
  },
});
const shape = tokens
  .filter(({ name }) => !["turns", "steps", "out", "pytorch-capability"].includes(name))
  .flatMap(({ name, value }) => [`--${name}`, value]);
const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const capability = values["pytorch-capability"] ?? widestCapability();

function start(command, args, env) {
  const child = spawn(command, args, {
    stdio: ["pipe", "pipe", "inherit"],
    env: { ...process.env, ...env },
  });
  const ended = new Promise((resolve) => {
    child.on("error", (error) => resolve(`cannot be started: ${error.message}`));
    child.on("close", (code, signal) => resolve(howItEnded(code, signal)));
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async () => {
    const { value, done } = await lines.next();
    if (!done) return JSON.parse(value);
    console.error(`error: ${command} ${args[0]} ${await ended}`);
    process.exit(1);
  };
  // A process that is gone is told of by the answer that does not come.
  child.stdin.on("error", () => undefined);
  return {
    ready: next(),
    async run(steps) {
      child.stdin.write(`${steps}\n`);
      return next();
    },
    stop: () => child.stdin.end(),
  };
}

const median = (numbers) => {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

const jemalloc = [
  "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2",
  "/usr/lib/aarch64-linux-gnu/libjemalloc.so.2",
].find(existsSync);
// Debian's default BLAS has threads of its own that fight PyTorch's: 1,497 instead of 747 ms (docs/log.md).
const openmpBlas = [
  "/usr/lib/x86_64-linux-gnu/openblas-openmp",
  "/usr/lib/aarch64-linux-gnu/openblas-openmp",
].find(existsSync);
const steps = Number(values.steps);
const ours = start(process.execPath, [here("anecdote-step.mjs"), ...shape]);
const oursReady = await ours.ready;
const theirs = start("/usr/bin/python3", [here("pytorch_step.py"), ...shape], {
  ...(jemalloc && { LD_PRELOAD: jemalloc }),
  ...(openmpBlas && { LD_LIBRARY_PATH: openmpBlas }),
  ...(capability && { ATEN_CPU_CAPABILITY: capability }),
});
const theirsReady = await theirs.ready;
await ours.run(3);
await theirs.run(3);
const a = [];
const b = [];
const ratios = [];
let memory = {};
for (let turn = 0; turn < Number(values.turns); turn++) {
  const mine = await ours.run(steps);
  const other = await theirs.run(steps);
  a.push(...mine.ms);
  b.push(...other.ms);
  ratios.push(median(mine.ms) / median(other.ms));
  memory = { anecdote: mine.peak_memory_bytes, pytorch: other.peak_memory_bytes };
  console.error(
    `turn ${turn + 1}: anecdote ${median(mine.ms).toFixed(1)} ms, pytorch ${median(other.ms).toFixed(1)} ms, ratio ${ratios.at(-1).toFixed(3)}`,
  );
}
ours.stop();
theirs.stop();
let commit = "unknown";
try {
  commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], {
    cwd: here("."),
    encoding: "utf8",
  }).trim();
} catch {}
const result = {
  date: new Date().toISOString().slice(0, 10),
  commit,
  machine: `${os.cpus()[0]?.model}, ${os.cpus().length} cores`,
  shape: Object.fromEntries(
    shape
      .map((value, i) => (i % 2 ? undefined : [value.slice(2), Number(shape[i + 1])]))
      .filter(Boolean),
  ),
  anecdote: { ms: median(a), minimum: Math.min(...a), runtime: oursReady.runtime },
  pytorch: {
    ms: median(b),
    minimum: Math.min(...b),
    version: theirsReady.torch,
    capability: capability ?? "chosen by PyTorch",
  },
  ratio: { of_medians: median(a) / median(b), median_of_turns: median(ratios), turns: ratios },
  peak_memory_bytes: memory,
  memory_ratio: memory.anecdote / memory.pytorch,
};
console.log(JSON.stringify(result, null, 2));
if (values.out) writeFileSync(values.out, `${JSON.stringify(result, null, 2)}\n`);
