// Training in the engine's arithmetic against training in fp32: the same run, seed and data on the CPU engine, on
// sim:m4 with loss and operand scaling, on sim:m4 without either, and with scaling by each contested rule of the
// engine's arithmetic.
//   npm run bench:numerics -- --data PATH_TO_TINYSHAKESPEARE
//     [--preset storyteller|nanogpt-char|storyteller-narrow|nanogpt-char-narrow] [--run cpu|nudged|nudged-twice|sim|unscaled|NAME OF A VARIANT]
//                               parts, merged into one result file; several processes may write to it
//     [--stop-after STEPS]      ends each run early; its losses are compared at that step
//     [--runs DIR] [--results FILE] [--threads N] [--eval-batches N] [--fresh]
// The narrow presets are the same recipes at full length with two layers of 64 channels, for machines with little time.
// A run that is stopped (Ctrl-C) or killed goes on from its last checkpoint; one that is complete in the result file is
// not run again.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus } from "node:os";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { createEngine, training as train } from "../dist/index.js";
import { loadWeights, modelOf } from "../dist/model/index.js";
import { newestWholeCheckpoint } from "../dist/runs/whole-checkpoints.js";
import { prepareData } from "../dist/train/run/prepare.js";
import { buildEvaluationPlan } from "../dist/train/step/step-plan.js";
import { evaluateBatches } from "../dist/train/step/trainer.js";

const NARROW = { layers: 2, hidden_size: 64, heads: 2 };
/** What is trained, as a preset and the settings that differ from it. */
const TRAINED = {
  storyteller: { preset: "storyteller" },
  "nanogpt-char": { preset: "nanogpt-char" },
  "storyteller-narrow": { preset: "storyteller", ...NARROW },
  "nanogpt-char-narrow": { preset: "nanogpt-char", ...NARROW },
};
const PRESETS = Object.keys(TRAINED);
const RUNS = {
  cpu: { engine: "cpu", scaling: "auto" },
  // The CPU engine's run again with a learning rate that differs in its sixth digit: what chance alone does to the end.
  nudged: { engine: "cpu", scaling: "auto", nudge: 1e-6 },
  "nudged-twice": { engine: "cpu", scaling: "auto", nudge: 2e-6 },
  sim: { engine: "sim:m4", scaling: "auto" },
  unscaled: { engine: "sim:m4", scaling: "off" },
  ...Object.fromEntries(
    Object.entries({
      august: "2026-08",
      "any-order": "sum.range=any-order",
      "two-units": "product.drop=two-units",
      even: "product.rounding=half-even,output.rounding=half-even,elementwise.rounding=half-even",
      "wide-sums": "reduce.sum=wide",
      "exact-tables":
        "table.sigmoid=exact,table.exp=exact,table.log=exact,table.root=exact,table.inverse=exact,table.tanh=exact",
    }).map(([name, arithmetic]) => [name, { engine: "sim:m4", scaling: "auto", arithmetic }]),
  ),
};
/** Updates between the recorded losses. */
const LOGGING_STEPS = 10;
/** A run has visibly failed when its mean loss of this many reports is this much above the CPU engine's. */
const FAILED = { reports: 10, ratio: 1.1, notBefore: 150 };

const { values } = parseArgs({
  options: {
    data: { type: "string" },
    preset: { type: "string" },
    run: { type: "string" },
    "stop-after": { type: "string" },
    runs: { type: "string", default: "runs/numerics" },
    results: { type: "string", default: "bench/results/numerics.json" },
    threads: { type: "string", default: String(availableParallelism()) },
    "eval-batches": { type: "string", default: "20" },
    fresh: { type: "boolean", default: false },
  },
});
const MACHINE = {
  processor: cpus()[0]?.model ?? "unknown",
  cores: cpus().length,
  node: process.version,
};
const stopAfter = values["stop-after"] === undefined ? Infinity : Number(values["stop-after"]);
const threads = Number(values.threads);
const presets =
  values.preset === undefined ? ["storyteller", "nanogpt-char"] : [chosen(values.preset, PRESETS)];
const names =
  values.run === undefined ? Object.keys(RUNS) : [chosen(values.run, Object.keys(RUNS))];

function chosen(name, known) {
  if (!known.includes(name)) throw new Error(`"${name}" is none of ${known.join(", ")}`);
  return name;
}

function readResults() {
  const found = existsSync(values.results) ? JSON.parse(readFileSync(values.results, "utf8")) : {};
  found.presets ??= {};
  return found;
}

let results = readResults();

/** Writes one run into the file as it stands now: another process may have added its own since. */
function save(preset, name) {
  const { runs, ...about } = results.presets[preset];
  const newest = readResults();
  const others = newest.presets[preset]?.runs;
  newest.presets[preset] = { ...about, runs: { ...others, [name]: runs[name] } };
  newest.machine = MACHINE;
  results = newest;
  mkdirSync(dirname(values.results), { recursive: true });
  const aside = `${values.results}.${process.pid}`;
  writeFileSync(aside, `${JSON.stringify(results)}\n`);
  renameSync(aside, values.results);
}

const GIT = { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] };

function commit() {
  try {
    const head = execFileSync("git", ["rev-parse", "--short", "HEAD"], GIT);
    const changes = execFileSync("git", ["status", "--porcelain", "src"], GIT);
    return head.trim() + (changes === "" ? "" : " with changes");
  } catch {
    return "unknown";
  }
}

function configOf(preset, name) {
  const trained = TRAINED[preset];
  const settings = train.presetOf(trained.preset).settings;
  const isCharacters = trained.preset === "nanogpt-char";
  if (isCharacters && values.data === undefined)
    throw new Error(`${preset} needs --data, the path of tinyshakespeare's input.txt`);
  const folder = join(values.runs, preset, name);
  const { nudge = 0, ...chosenRun } = RUNS[name];
  // A run that was killed before its first checkpoint begins again.
  const isResumable = !values.fresh && hasCheckpoint(folder);
  if (!isResumable) rmSync(folder, { recursive: true, force: true });
  const { config } = train.resolveTrainConfig(settings, [
    {
      origin: "bench",
      values: {
        ...trained,
        ...(isCharacters && { data: values.data }),
        ...chosenRun,
        ...(nudge > 0 && { learning_rate: settings.learning_rate * (1 + nudge) }),
        ...{ output_dir: folder, resume: isResumable, threads, seed: 1 },
        ...{ logging_steps: LOGGING_STEPS, save_steps: 50, save_total_limit: 1, final_samples: 0 },
      },
    },
  ]);
  return config;
}

function hasCheckpoint(folder) {
  try {
    return newestWholeCheckpoint(folder).checkpoint !== undefined;
  } catch {
    return false;
  }
}

/** What the run's events say of all its steps, those before a resumption included. */
function record(folder) {
  const events = readFileSync(join(folder, "events.ndjson"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  const steps = events.filter(({ kind }) => kind === "step");
  return {
    curve: steps.map((e) => [e.step, e.train_loss]),
    lossScale: steps.map((e) => [e.step, e.loss_scale ?? 1]),
    gradientNorm: steps.map((e) => [e.step, e.gradient_norm]),
    evaluations: events
      .filter(({ kind }) => kind === "eval")
      .map((e) => [e.step, e.eval_loss, e.eval_tokens]),
    overflows: events
      .filter(({ kind, message }) => kind === "notice" && /overflowed/.test(message))
      .map(({ step, message }) => [step, message]),
    elapsedSeconds: events.findLast(({ kind }) => kind === "end")?.elapsed_seconds ?? null,
  };
}

function minutes(seconds) {
  return seconds < 90 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`;
}

const abort = new AbortController();
process.once("SIGINT", () => abort.abort());

/** Mean loss of the last reports over the CPU engine's at the same steps. */
function behindCpu(curve, cpu) {
  const exact = new Map(cpu?.curve);
  const last = curve.slice(-FAILED.reports).filter(([step]) => exact.has(step));
  if (last.length < FAILED.reports) return undefined;
  const sum = (list) => list.reduce((total, number) => total + number, 0);
  return sum(last.map(([, loss]) => loss)) / sum(last.map(([step]) => exact.get(step)));
}

async function run(preset, name) {
  const config = configOf(preset, name);
  results = readResults();
  const ofPreset = (results.presets[preset] ??= { steps: config.max_steps, seed: 1, runs: {} });
  const known = ofPreset.runs[name];
  if (!values.fresh && known?.isComplete === true) {
    console.error(`${preset} ${name}: complete in ${values.results}`);
    return;
  }
  const stop = new AbortController();
  abort.signal.addEventListener("abort", () => stop.abort());
  let reason = null;
  const end = (why) => {
    reason ??= why;
    stop.abort();
  };
  const seen = [];
  let progress = 0;
  const last = await train.trainInWorker(config, {
    signal: stop.signal,
    stuckAfterMs: 600_000,
    onEvent: (event) => {
      if (event.kind === "start")
        seen.push(...(event.step > 0 ? record(config.output_dir).curve : []));
      if (event.kind === "notice") console.error(`${preset} ${name}: ${event.message}`);
      if (event.kind !== "step") return;
      seen.push([event.step, event.train_loss]);
      if (Date.now() - progress > 10_000) {
        progress = Date.now();
        console.error(
          `${preset} ${name}: step ${event.step}/${config.max_steps}  loss ${event.train_loss.toFixed(4)}  ` +
            `scale ${event.loss_scale ?? 1}  ${minutes(event.eta_seconds)} to go`,
        );
      }
      if (event.step >= stopAfter) end(`asked to stop after ${stopAfter} steps`);
      const behind = name === "unscaled" ? behindCpu(seen, ofPreset.runs.cpu) : undefined;
      if (event.step >= FAILED.notBefore && behind > FAILED.ratio)
        end(`loss ${((behind - 1) * 100).toFixed(0)} % above the CPU engine's over 100 steps`);
    },
  });
  const isComplete = last.kind === "end" || (reason !== null && !reason.startsWith("asked"));
  const finalLoss = last.kind === "end" ? last.eval_loss : null;
  ofPreset.runs[name] = {
    ...{
      engine: config.engine,
      scaling: config.scaling,
      arithmetic: config.arithmetic,
      lossScale: [],
      commit: commit(),
    },
    ...record(config.output_dir),
    ...{ lastStep: last.step, isComplete, stopped: reason, evalLoss: finalLoss },
    date: new Date().toISOString(),
  };
  save(preset, name);
  if (abort.signal.aborted) {
    console.error("stopped; the same command goes on from here");
    process.exit(130);
  }
  // What another process wrote meanwhile has come in with that.
  Object.assign(results.presets[preset].runs[name], await judge(config, last.kind === "end"));
  save(preset, name);
}

/** The run's last weights over the validation split: all of it in fp32, some batches in both arithmetics. */
async function judge(config, isWhole) {
  const data = prepareData({ ...config, resume: true }, () => undefined);
  try {
    const { checkpoint } = newestWholeCheckpoint(config.output_dir);
    const exact = await lossOf("cpu", config, data, checkpoint.folder, -1);
    if (config.engine === "cpu") return { cpuEvalLoss: exact };
    const limit = Number(values["eval-batches"]);
    const short = {
      batches: limit,
      cpu: await lossOf("cpu", config, data, checkpoint.folder, limit),
      own: await lossOf(config.engine, config, data, checkpoint.folder, limit),
    };
    return { cpuEvalLoss: exact, evaluatedInBoth: short, isWhole };
  } finally {
    data.close();
  }
}

async function lossOf(engineName, config, data, folder, batchLimit) {
  const scaled = engineName === "cpu" || config.scaling === "auto";
  const engine = await createEngine(engineName, {
    threads,
    ...(engineName !== "cpu" &&
      config.arithmetic !== undefined && { arithmetic: config.arithmetic }),
    ...(!scaled && { operandScaling: "off" }),
  });
  try {
    const { batch_size: batchSize, max_seq_length: sequenceLength } = config;
    const plan = buildEvaluationPlan({ model: modelOf(data.model), batchSize, sequenceLength });
    const loaded = await engine.load(plan);
    loadWeights(folder, modelOf(data.model), (name) => loaded.view(name));
    const batches = data.validation.evaluation({
      batchSize,
      ...(batchLimit > 0 && { batchLimit }),
    });
    return (await evaluateBatches(loaded, batches)).loss;
  } finally {
    await engine.close();
  }
}

function report() {
  for (const [preset, { steps, runs }] of Object.entries(results.presets)) {
    console.log(`${preset}, ${steps} steps`);
    const exact = runs.cpu?.evalLoss ?? runs.cpu?.cpuEvalLoss;
    for (const [name, r] of Object.entries(runs)) {
      const against = (loss) =>
        exact > 0 && loss > 0 ? ` (${(100 * (loss / exact - 1)).toFixed(2)} %)` : "";
      const fixed = (loss) => (typeof loss === "number" ? loss.toFixed(4) : "-");
      const own = r.evalLoss ?? r.evaluatedInBoth?.own;
      const parts = [
        `  ${name.padEnd(9)} ${r.lastStep} steps`,
        `eval_loss on ${r.engine} ${fixed(own)}${against(r.evalLoss)}`,
        `same weights on cpu ${fixed(r.cpuEvalLoss)}${against(r.cpuEvalLoss)}`,
        `overflows ${r.overflows.length}`,
        ...(r.stopped === null ? [] : [`stopped: ${r.stopped}`]),
      ];
      console.log(parts.join("  "));
    }
  }
}

for (const preset of presets) for (const name of names) await run(preset, name);
report();
