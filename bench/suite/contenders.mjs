// Processes that take turns in a benchmark: ours and PyTorch's answer a number of steps on standard input with one JSON
// line; llm.c and llama2.c are compiled from a folder that the user names, for the sizes that are measured, with weights
// of no meaning.
import { execFileSync, spawn, spawnSync } from "node:child_process";
import {
  closeSync,
  cpSync,
  existsSync,
  openSync,
  readFileSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { blasCores, howItEnded, widestCapability } from "../pytorch-process.mjs";

const here = (name) => fileURLToPath(new URL(`../${name}`, import.meta.url));
const PYTHON = "/usr/bin/python3";

/** Without what this shell says about a BLAS's kernels: each contender's library takes those that it finds best. */
const environment = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !name.startsWith("OPENBLAS_")),
);

/** A process that answers numbers of steps. `start` resolves once it is ready, and rejects with what it said. */
export async function stepProcess(command, args, env = {}) {
  const child = spawn(command, args, {
    stdio: ["pipe", "pipe", "pipe"],
    env: { ...environment, ...env },
  });
  let errors = "";
  child.stderr.on("data", (bytes) => (errors = (errors + bytes).slice(-2000)));
  const ended = new Promise((resolve) => {
    child.on("error", (error) => resolve(`cannot be started: ${error.message}`));
    child.on("close", (code, signal) => resolve(howItEnded(code, signal)));
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async () => {
    const { value, done } = await lines.next();
    if (!done) return JSON.parse(value);
    throw new Error(`${await ended}: ${errors.trim().split("\n").at(-1)}`);
  };
  child.stdin.on("error", () => undefined);
  const ready = await next();
  return {
    ready,
    async run(steps) {
      child.stdin.write(`${steps}\n`);
      return next();
    },
    async stop() {
      child.stdin.end();
      await ended;
    },
  };
}

/** Why PyTorch cannot take part, or nothing. */
export function pytorchMissing() {
  if (!existsSync(PYTHON)) return `there is no ${PYTHON}`;
  const { status } = spawnSync(PYTHON, ["-c", "import torch"], { stdio: "ignore" });
  return status === 0 ? undefined : "PyTorch is not installed (Debian: python3-torch)";
}

/** PyTorch, tuned by what the processor and the system have. */
export function pytorchStep(args, { capability = widestCapability(), blasCore } = {}) {
  const first = (paths) => paths.find(existsSync);
  const arch = process.arch === "arm64" ? "aarch64" : "x86_64";
  const jemalloc = first([`/usr/lib/${arch}-linux-gnu/libjemalloc.so.2`]);
  const blas = first([`/usr/lib/${arch}-linux-gnu/openblas-openmp`]);
  return stepProcess(PYTHON, [here("pytorch_step.py"), ...args], {
    ...(jemalloc && { LD_PRELOAD: jemalloc }),
    ...(blas && { LD_LIBRARY_PATH: blas }),
    ...(capability && { ATEN_CPU_CAPABILITY: capability }),
    ...(blasCore && { OPENBLAS_CORETYPE: blasCore }),
    OMP_WAIT_POLICY: "passive",
  });
}

export const ourStep = (args) =>
  stepProcess(process.execPath, [here("anecdote-step.mjs"), ...args]);
export const ourTokens = (args) =>
  stepProcess(process.execPath, [here("suite/anecdote-tokens.mjs"), ...args]);

const limitsEnvironment = (threads, blasCore) => ({
  OMP_NUM_THREADS: `${threads}`,
  OPENBLAS_NUM_THREADS: `${threads}`,
  OMP_WAIT_POLICY: "passive",
  ...(blasCore && { OPENBLAS_CORETYPE: blasCore }),
});

/** Products and memory by numpy, which brings the system's BLAS; nothing where it is missing. */
function measuredLimits(threads, blasCore) {
  const { status, stdout } = spawnSync(PYTHON, [here("suite/limits.py"), `${threads}`], {
    encoding: "utf8",
    env: { ...environment, ...limitsEnvironment(threads, blasCore) },
  });
  return status === 0 ? JSON.parse(stdout) : undefined;
}

/** The best rate of a processor second among sizes. */
const bestRate = ({ sgemm }) =>
  Math.max(...Object.values(sgemm).map((size) => size.gflops_a_processor_second));

/**
 * Limits by the fastest of the kernels that the BLAS has for this processor, and their name where the BLAS takes others
 * by itself; nothing where numpy is missing.
 */
export function machineLimits(threads) {
  const [own, ...others] = blasCores().flatMap((blasCore) => {
    const limits = measuredLimits(threads, blasCore);
    return limits === undefined ? [] : [{ blasCore, ...limits }];
  });
  // A name is worth it where it is clearly faster, not by chance.
  return others.reduce(
    (best, other) => (bestRate(other) > 1.1 * bestRate(best) ? other : best),
    own,
  );
}

/** sgemm as a contender: what the machine gives in the very minute in which a step is measured. */
export const sgemmTurns = (threads, blasCore) =>
  stepProcess(
    PYTHON,
    [here("suite/limits.py"), `${threads}`, "--turns"],
    limitsEnvironment(threads, blasCore),
  );

/** A program's output, and its processor seconds by the shell's clock. */
function timed(command, args, options) {
  const script = "TIMEFORMAT='processor %U %S'; time \"$@\"";
  const { stdout, stderr, status } = spawnSync("bash", ["-c", script, "bash", command, ...args], {
    encoding: "utf8",
    maxBuffer: 1 << 26,
    ...options,
  });
  const [, user, system] = /processor ([\d.]+) ([\d.]+)/.exec(stderr) ?? [];
  if (status !== 0) throw new Error(`${command} ended with ${status}: ${stderr.slice(-300)}`);
  return { text: `${stdout}\n${stderr}`, processorMs: 1000 * (Number(user) + Number(system)) };
}

const COMPILE = ["-Ofast", "-march=native", "-fopenmp"];

function writeNumbers(path, header, count) {
  const file = openSync(path, "w");
  writeSync(file, new Uint8Array(header.buffer, 0, header.byteLength));
  // Small numbers of both signs, the same block again and again: nothing becomes infinite.
  const block = Float32Array.from(
    { length: 1 << 18 },
    (_, i) => ((i * 7919) % 1009) / 25000 - 0.02,
  );
  const bytes = new Uint8Array(block.buffer);
  for (let left = 4 * count; left > 0; left -= bytes.length)
    writeSync(file, bytes.subarray(0, Math.min(bytes.length, left)));
  closeSync(file);
}

/** llm.c's training step of a gpt2, compiled for a batch and a context. Milliseconds of each step. */
export function llmCStep(
  source,
  folder,
  { layers, heads, channels, vocab, batch, context, threads },
) {
  const text = readFileSync(join(source, "train_gpt2.c"), "utf8")
    .replace(/int B = 4;/, `int B = ${batch};`)
    .replace(/int T = 64;/, `int T = ${context};`)
    .replace("step <= 40", 'step < atoi(getenv("STEPS"))')
    .replace("step % 10 == 0", "0")
    .replace("step > 0 && step % 20 == 0", "0");
  writeFileSync(join(folder, "train_gpt2.c"), text);
  cpSync(join(source, "llmc"), join(folder, "llmc"), { recursive: true });
  const program = join(folder, "train_gpt2");
  execFileSync("gcc", [...COMPILE, "-DOMP", "train_gpt2.c", "-lm", "-o", program], {
    cwd: folder,
    stdio: "ignore",
  });
  const padded = Math.ceil(vocab / 128) * 128;
  const block = 12 * channels * channels + 13 * channels;
  const count = padded * channels + context * channels + layers * block + 2 * channels;
  const header = new Int32Array(256);
  header.set([20240326, 3, context, vocab, layers, heads, channels, padded]);
  writeNumbers(join(folder, "gpt2_124M.bin"), header, count);
  const tokenCount = batch * context * 12 + 1;
  const tokens = new Uint8Array(1024 + 2 * tokenCount);
  new Int32Array(tokens.buffer, 0, 3).set([20240520, 1, tokenCount]);
  const words = new Uint16Array(tokens.buffer, 1024);
  for (let i = 0; i < words.length; i++) words[i] = (i * 7919) % vocab;
  execFileSync("mkdir", ["-p", join(folder, "dev/data/tinyshakespeare")]);
  for (const split of ["train", "val"])
    writeFileSync(join(folder, `dev/data/tinyshakespeare/tiny_shakespeare_${split}.bin`), tokens);
  return (steps) => {
    const run = (count) =>
      timed(program, [], {
        cwd: folder,
        env: {
          ...process.env,
          STEPS: `${count}`,
          OMP_NUM_THREADS: `${threads}`,
          OMP_WAIT_POLICY: "passive",
        },
      });
    const long = run(steps + 1);
    const short = run(1);
    const ms = [...long.text.matchAll(/took ([\d.]+) ms/g)].map(([, time]) => Number(time));
    return { ms: ms.slice(1), processor_ms: (long.processorMs - short.processorMs) / steps };
  };
}

/** llama2.c's greedy generation with both OpenMP settings: the better one's tokens a second. */
export function llama2CTokens(
  source,
  folder,
  { layers, heads, kv_heads, channels, ffn, vocab, context, tied, threads },
) {
  const program = join(folder, "run");
  execFileSync("gcc", [...COMPILE, join(source, "run.c"), "-lm", "-o", program], {
    stdio: "ignore",
  });
  const head = channels / heads;
  const kv = head * kv_heads;
  const layer = 2 * channels + 2 * channels * channels + 2 * channels * kv + 3 * channels * ffn;
  const tables = (tied ? 1 : 2) * vocab * channels;
  const count = tables + layers * layer + channels + context * head;
  const header = Int32Array.of(
    channels,
    ffn,
    layers,
    heads,
    kv_heads,
    tied ? vocab : -vocab,
    context,
  );
  writeNumbers(join(folder, "model.bin"), header, count);
  const tokens = Buffer.alloc(4 + vocab * 12);
  tokens.writeInt32LE(4, 0);
  for (let id = 0; id < vocab; id++) {
    tokens.writeInt32LE(4, 4 + 12 * id + 4);
    tokens.write(id.toString(36).padStart(4, "_"), 4 + 12 * id + 8);
  }
  writeFileSync(join(folder, "tokenizer.bin"), tokens);
  const args = [
    join(folder, "model.bin"),
    "-z",
    join(folder, "tokenizer.bin"),
    "-t",
    "0",
    "-i",
    "",
  ];
  return (tokenCount) => {
    const results = ["passive", "active"].map((policy) => {
      const env = { ...process.env, OMP_NUM_THREADS: `${threads}`, OMP_WAIT_POLICY: policy };
      const { text, processorMs } = timed(program, [...args, "-n", `${tokenCount}`], { env });
      const [, perSecond] = /achieved tok\/s: ([\d.]+)/.exec(text) ?? [];
      return { policy, tokensPerSecond: Number(perSecond), processorMs: processorMs / tokenCount };
    });
    return results.toSorted((a, b) => b.tokensPerSecond - a.tokensPerSecond)[0];
  };
}
