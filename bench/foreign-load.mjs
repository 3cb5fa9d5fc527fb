// What of its fair share a training step keeps where other programs want the cores: as many busy processes as cores run
// beside it, turn by turn with none. Threads that wait for each other at every product lose more than their share when one
// of them is taken off its core. Fair is half of the machine; 1 means that a step takes twice its time alone. PyTorch takes
// turns where it is installed.
//
//   npm run bench:foreign-load -- [--threads N] [--busy N] [--turns 5] [--steps 2] [--json]
import { spawn } from "node:child_process";
import os from "node:os";
import { parseArgs } from "node:util";
import { machineLimits, ourStep, pytorchMissing, pytorchStep } from "./suite/contenders.mjs";
import { shapeArguments } from "./suite/shape.mjs";
import { median } from "./median.mjs";

const { values } = parseArgs({
  options: {
    threads: { type: "string", default: `${os.availableParallelism()}` },
    busy: { type: "string", default: `${os.availableParallelism()}` },
    turns: { type: "string", default: "5" },
    steps: { type: "string", default: "2" },
    json: { type: "boolean", default: false },
  },
});
const [threads, busy, turns, steps] = ["threads", "busy", "turns", "steps"].map((name) =>
  Number(values[name]),
);
const cores = os.availableParallelism();
const SHAPE = {
  ...{ family: "gpt2", layers: 6, heads: 6, kv_heads: 6, channels: 384, ffn: 1536 },
  ...{ vocab: 8192, batch: 4, context: 256, tied: true, lora: 0, threads },
};
/** A busy process that ends with this one, whatever happens. */
const LOOP =
  'process.stdin.on("end", () => process.exit()).resume();' +
  "const turn = () => { const end = Date.now() + 20; while (Date.now() < end); setImmediate(turn); }; turn();";

/** Runs `work` beside busy processes. */
async function beside(count, work) {
  const children = Array.from({ length: count }, () =>
    spawn(process.execPath, ["-e", LOOP], { stdio: ["pipe", "ignore", "ignore"] }),
  );
  try {
    // Until all of them are at it.
    if (count > 0) await new Promise((resolve) => setTimeout(resolve, 300));
    return await work();
  } finally {
    for (const child of children) child.stdin.end();
    await Promise.all(children.map((child) => new Promise((end) => child.once("exit", end))));
  }
}

const loadBefore = os.loadavg()[0];
const args = shapeArguments(SHAPE);
const contenders = { anecdote: await ourStep(args) };
const missing = pytorchMissing();
if (missing === undefined)
  contenders.pytorch = await pytorchStep(args, { blasCore: machineLimits(threads)?.blasCore });
else console.error(`PyTorch does not take part: ${missing}`);

const times = Object.fromEntries(
  Object.keys(contenders).map((who) => [who, { alone: [], loaded: [], aloneShare: [] }]),
);
for (const one of Object.values(contenders)) await one.run(1);
for (let turn = 0; turn < turns; turn += 1) {
  for (const [who, one] of Object.entries(contenders)) {
    const alone = await one.run(steps);
    const loaded = await beside(busy, () => one.run(steps));
    times[who].alone.push(median(alone.ms));
    times[who].loaded.push(median(loaded.ms));
    times[who].aloneShare.push(alone.processor_ms / (median(alone.ms) * Math.min(threads, cores)));
  }
}
for (const one of Object.values(contenders)) await one.stop();

// Each of the threads and of the busy processes gets the same part of the cores.
const fair = Math.min(1, cores / (Math.min(threads, cores) + busy));
const rows = Object.entries(times).map(([contender, { alone, loaded, aloneShare }]) => ({
  contender,
  alone_ms: median(alone),
  loaded_ms: median(loaded),
  of_fair_share: median(alone.map((ms, turn) => ms / loaded[turn])) / fair,
  // What others took of the cores while nothing of ours kept them busy: then "alone" was not alone.
  noisy: median(aloneShare) < 0.8,
}));
if (values.json) {
  console.log(JSON.stringify({ cores, threads, busy, fair, load_before: loadBefore, rows }));
} else {
  console.log(
    `${cores} cores, ${threads} threads, ${busy} busy processes beside them; load ${loadBefore.toFixed(1)} before`,
  );
  for (const row of rows) {
    console.log(
      `${row.contender.padEnd(10)} alone ${row.alone_ms.toFixed(0)} ms, beside them ${row.loaded_ms.toFixed(0)} ms: ${row.of_fair_share.toFixed(2)} of the fair share${row.noisy ? " (noisy: others used the cores too)" : ""}`,
    );
  }
}
