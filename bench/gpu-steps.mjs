// Steps of the small presets on the GPU engine beside the same steps on cpu: losses step by step, and the weights at the
// end. `node bench/gpu-steps.mjs --steps 100 --batch-size 1 --max-seq-length 32` is what a device in software does in
// minutes; a real GPU takes the presets as they are. Ends with 1 where a number is further off than is allowed.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { build, isStale } from "../scripts/build.mjs";

const { values } = parseArgs({
  options: {
    preset: { type: "string", multiple: true, default: ["nanogpt-char", "storyteller"] },
    steps: { type: "string", default: "100" },
    "batch-size": { type: "string" },
    "max-seq-length": { type: "string" },
    json: { type: "boolean", default: false },
  },
});
/** Of a loss, and of a weight tensor's largest number after all steps. */
const ALLOWED = { loss: 1e-3, weights: 2e-2 };

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
if (isStale()) await build();
const folder = mkdtempSync(join(tmpdir(), "anecdote-gpu-steps-"));
const results = [];
try {
  for (const preset of values.preset) results.push(compare(preset));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
if (values.json) console.log(JSON.stringify(results));
process.exitCode = results.every(({ isWithin }) => isWithin) ? 0 : 1;

function compare(preset) {
  const gpu = train(preset, "gpu");
  const cpu = train(preset, "cpu");
  const off = gpu.losses.map((loss, step) => Math.abs(loss / cpu.losses[step] - 1));
  const worst = off.indexOf(Math.max(...off));
  const weights = largestDifference(gpu.weights, cpu.weights);
  const isWithin =
    gpu.losses.length === cpu.losses.length &&
    off[worst] <= ALLOWED.loss &&
    weights.difference <= ALLOWED.weights;
  const result = {
    preset,
    steps: gpu.losses.length,
    device: gpu.device,
    firstLoss: { gpu: gpu.losses[0], cpu: cpu.losses[0] },
    lastLoss: { gpu: gpu.losses.at(-1), cpu: cpu.losses.at(-1) },
    largestLossDifference: off[worst],
    atStep: worst + 1,
    largestWeightDifference: weights.difference,
    atWeight: weights.name,
    secondsOfSteps: { gpu: gpu.seconds, cpu: cpu.seconds },
    isWithin,
  };
  if (!values.json) {
    const percent = (part) => `${(100 * part).toPrecision(2)} %`;
    console.log(
      `${preset}, ${result.steps} steps on ${result.device}: loss ${result.firstLoss.gpu.toFixed(4)} to ${result.lastLoss.gpu.toFixed(4)} (cpu ${result.lastLoss.cpu.toFixed(4)}), ` +
        `at most ${percent(result.largestLossDifference)} off, at step ${result.atStep}; weights at most ${percent(weights.difference)} off, ${weights.name}; ` +
        `${isWithin ? "within" : "BEYOND"} ${percent(ALLOWED.loss)} and ${percent(ALLOWED.weights)}`,
    );
  }
  return result;
}

function train(preset, engine) {
  const output = join(folder, `${preset}-${engine}`);
  const sizes = ["batch-size", "max-seq-length"].flatMap((name) =>
    values[name] === undefined ? [] : [`--${name}`, values[name]],
  );
  const ran = spawnSync(
    process.execPath,
    [
      ...[join(root, "bin/anecdote.mjs"), "train", "--preset", preset, "--engine", engine],
      ...["--max-steps", values.steps, "--logging-steps", "1", "--eval-steps", "0"],
      ...[
        "--eval-batches",
        "1",
        "--save-steps",
        "0",
        "--final-samples",
        "0",
        "--sample-steps",
        "0",
      ],
      ...["--output-dir", output, "--json", ...sizes],
    ],
    { encoding: "utf8", maxBuffer: 1 << 30 },
  );
  if (ran.status !== 0) throw new Error(`${preset} on ${engine}: ${ran.stdout}${ran.stderr}`);
  const events = ran.stdout
    .trim()
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line));
  const steps = events.filter(({ kind }) => kind === "step");
  const save = events.findLast(({ kind }) => kind === "save");
  return {
    losses: steps.map(({ train_loss }) => train_loss),
    device: events.find(({ kind }) => kind === "start")?.device ?? engine,
    seconds: steps.at(-1).t - steps[0].t,
    weights: readWeights(join(save.checkpoint, "model.safetensors")),
  };
}

/** fp32 tensors of a safetensors file, by name. */
function readWeights(path) {
  const bytes = readFileSync(path);
  const headerLength = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString("utf8", 8, 8 + headerLength));
  const data = bytes.subarray(8 + headerLength);
  return new Map(
    Object.entries(header).flatMap(([name, entry]) => {
      if (entry.dtype !== "F32") return [];
      const [from, to] = entry.data_offsets;
      return [[name, new Float32Array(Uint8Array.from(data.subarray(from, to)).buffer)]];
    }),
  );
}

function largestDifference(actual, expected) {
  let found = { name: "none", difference: 0 };
  for (const [name, numbers] of expected) {
    const own = actual.get(name);
    const scale = numbers.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-9);
    const difference =
      numbers.reduce((most, value, at) => Math.max(most, Math.abs(value - own[at])), 0) / scale;
    if (difference > found.difference) found = { name, difference };
  }
  return found;
}
