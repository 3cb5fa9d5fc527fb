// Time to a loss: recipes for nanoGPT's Shakespeare characters, each until the loss over the whole validation split
// first falls to 1.92, judged every 50 steps outside the clock. Recipes and seeds are interleaved; every run that ends
// is written to the output file at once, and a later call goes on with what is missing. A run that never crosses
// counts as infinite. The clock counts training steps alone, by wall and by processor time of the whole process.
//
//   npm run bench:speedrun -- PATH_TO_TINYSHAKESPEARE [--seeds 1,2,3,4,5] [--recipes published,fast] [--threads 1]
//                             [--output speedrun.jsonl] [--list] [--table]
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { training } from "../dist/index.js";
import { ControlBlock } from "../dist/train/run/control.js";
import { median } from "./median.mjs";

const TARGET_LOSS = 1.92;
const EVALUATE_EVERY = 50;

/**
 * The ladder: each recipe is a preset and what differs from it. `fast-…` are the fast one with one of its steps taken
 * back, `published-…` the published one with one step added.
 */
const RECIPES = {
  published: { preset: "nanogpt-char" },
  fast: { preset: "nanogpt-char-fast" },
  "published-rate": { preset: "nanogpt-char", learning_rate: 3e-3, min_learning_rate: 3e-4 },
  "published-short": {
    preset: "nanogpt-char",
    learning_rate: 3e-3,
    min_learning_rate: 3e-4,
    max_steps: 1000,
    warmup_steps: 20,
  },
  "published-muon": { preset: "nanogpt-char", optimizer: "muon", muon_learning_rate: 9e-3 },
  "fast-iterations-5": { preset: "nanogpt-char-fast", muon_iterations: 5 },
  "fast-iterations-2": { preset: "nanogpt-char-fast", muon_iterations: 2 },
  "fast-rate-6": { preset: "nanogpt-char-fast", muon_learning_rate: 6e-3 },
  "fast-rate-14": { preset: "nanogpt-char-fast", muon_learning_rate: 14e-3 },
  "fast-steps-600": { preset: "nanogpt-char-fast", max_steps: 600 },
  "fast-steps-450": { preset: "nanogpt-char-fast", max_steps: 450 },
  "fast-adamw": { preset: "nanogpt-char-fast", optimizer: "adamw" },
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seeds: { type: "string", default: "1,2,3,4,5" },
    recipes: { type: "string", default: "published,fast" },
    threads: { type: "string", default: "1" },
    output: { type: "string", default: "speedrun.jsonl" },
    list: { type: "boolean", default: false },
    table: { type: "boolean", default: false },
  },
});
const recipes = values.recipes.split(",");
const unknown = recipes.find((name) => !Object.hasOwn(RECIPES, name));
if (unknown !== undefined) {
  throw new Error(`there is no recipe ${unknown}; there are ${Object.keys(RECIPES).join(", ")}`);
}

const processorMs = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};

/** Trains one recipe with one seed until it crosses, and gives what it took. */
async function cross(recipe, seed, data) {
  const { preset, ...changes } = RECIPES[recipe];
  const folder = mkdtempSync(join(tmpdir(), "anecdote-speedrun-"));
  const settings = { ...training.presetOf(preset).settings, preset };
  // What the preset does not need for its model counts as given to it.
  for (const key of ["muon_learning_rate", "muon_iterations"]) {
    if (changes.optimizer === "adamw") delete settings[key];
  }
  const { config } = training.resolveTrainConfig(settings, [
    {
      origin: "bench",
      values: {
        ...{ ...changes, data, seed, threads: Number(values.threads), engine: "cpu" },
        ...{ output_dir: join(folder, "run"), logging_steps: EVALUATE_EVERY },
        ...{ eval_steps: EVALUATE_EVERY, eval_batches: -1, save_steps: 0 },
      },
    },
  ]);
  const control = new ControlBlock();
  const spent = { wallMs: 0, processorMs: 0 };
  let mark;
  const stop = () => {
    if (mark === undefined) return;
    spent.wallMs += performance.now() - mark.wallMs;
    spent.processorMs += processorMs() - mark.processorMs;
    mark = undefined;
  };
  const go = () => {
    mark = { wallMs: performance.now(), processorMs: processorMs() };
  };
  let crossed;
  const losses = [];
  try {
    await training.runTraining(config, {
      control,
      onProgress: () => undefined,
      onEvent: (event) => {
        // The plan is loaded and the first step comes next.
        if (event.kind === "memory" && event.step === 0) go();
        if (event.kind === "step") stop();
        if (event.kind !== "eval" || crossed !== undefined) return;
        losses.push([event.step, Number(event.eval_loss.toFixed(4))]);
        if (event.eval_loss <= TARGET_LOSS) {
          crossed = { step: event.step, ...spent };
          control.requestInterrupt();
        } else go();
      },
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const steps = losses.at(-1)?.[0] ?? 0;
  return { recipe, seed, crossed: crossed ?? null, spent, steps, losses, load: loadavg()[0] };
}

/** Lines of the output file: what ended before. */
const readResults = () =>
  existsSync(values.output)
    ? readFileSync(values.output, "utf8")
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => JSON.parse(line))
    : [];

const medianOrNever = (numbers) => median(numbers) ?? Infinity;

function printTable() {
  const results = readResults();
  const names = Object.keys(RECIPES).filter((name) => results.some((row) => row.recipe === name));
  const time = (row) => row.crossed?.processorMs ?? Infinity;
  const base = medianOrNever(results.filter(({ recipe }) => recipe === "published").map(time));
  console.log(
    "recipe              seeds  crossed at (median)  processor s  of published   ms a step",
  );
  for (const name of names) {
    const rows = results.filter(({ recipe }) => recipe === name);
    const at = medianOrNever(rows.map((row) => row.crossed?.step ?? Infinity));
    const ms = medianOrNever(rows.map(time));
    const aStep = medianOrNever(rows.map((row) => row.spent.processorMs / row.steps));
    console.log(
      `${name.padEnd(20)}${String(rows.length).padStart(5)}${String(at).padStart(21)}${(ms / 1000).toFixed(1).padStart(13)}${(ms / base).toFixed(3).padStart(14)}${aStep.toFixed(1).padStart(12)}`,
    );
  }
}

if (values.list) console.log(Object.keys(RECIPES).join("\n"));
else if (values.table) printTable();
else {
  const [data] = positionals;
  if (data === undefined) throw new Error("give the path of tinyshakespeare's text");
  for (const seed of values.seeds.split(",").map(Number)) {
    for (const recipe of recipes) {
      if (readResults().some((row) => row.recipe === recipe && row.seed === seed)) continue;
      const row = await cross(recipe, seed, data);
      appendFileSync(values.output, `${JSON.stringify(row)}\n`);
      const told =
        row.crossed === null
          ? `never, ${row.losses.at(-1)?.[1]} after ${row.steps} steps`
          : `after ${row.crossed.step} steps, ${(row.crossed.processorMs / 1000).toFixed(1)} s of processor time`;
      console.log(`${recipe} seed ${seed}: ${told}`);
    }
  }
  printTable();
}
