// How long legality, cost and the rewriting for a chip take for programs of many ops. Prints one line a size and, with
// --json, one object. `--root DIR` measures another build beside this one, in turn, and prints the ratio.
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { median } from "./median.mjs";

const { values } = parseArgs({
  options: {
    root: { type: "string" },
    ops: { type: "string", default: "4000,8000,16000,32000" },
    rounds: { type: "string", default: "3" },
    json: { type: "boolean", default: false },
  },
});
const SIZES = values.ops.split(",").map(Number);
const ROUNDS = Number(values.rounds);

/** The functions of one build. */
async function buildAt(root) {
  const load = (path) => import(pathToFileURL(join(resolve(root), "dist", path)).href);
  const [builder, types, check, estimate, chips] = await Promise.all([
    load("mil/builder.js"),
    load("mil/types.js"),
    load("chip/legality/check.js"),
    load("chip/estimate.js"),
    load("chip/chips.js"),
  ]);
  const remedies = await load("lower/apply-remedies.js").catch(() =>
    load("passes/engine/apply-remedies.js"),
  );
  return { ...builder, ...types, ...check, ...estimate, ...chips, ...remedies };
}

/** Programs that are long in different ways: layers, a finding an op, one value that all read, ports of every op. */
const PROGRAMS = {
  layers(api, opCount) {
    const f = new api.FunctionBuilder("main");
    let x = f.input("x", api.tensorType("fp16", [1, 64, 1, 64]));
    for (let written = 0; written < opCount; written += 8) {
      const before = x;
      x = f.op("add", { x: f.op("mul", { x, y: 0.5 }), y: before });
      const [a, b] = f.many("split", { x: f.op("relu", { x }), num_splits: 2, axis: 1 });
      x = f.op("softmax", { x: f.op("concat", { values: [b, a], axis: 1 }), axis: 3 });
      x = f.op("transpose", {
        x: f.op("transpose", { x, perm: [0, 3, 2, 1] }),
        perm: [0, 3, 2, 1],
      });
    }
    return f.finish({ y: x });
  },
  findings(api, opCount) {
    const f = new api.FunctionBuilder("main");
    let x = f.input("x", api.tensorType("fp32", [1, 100]));
    for (let written = 0; written < opCount; written += 4) {
      const rounded = f.op("floor", { x: f.op("softplus", { x: f.op("square", { x }) }) });
      x = f.op("mul", { x: rounded, y: 0.5 });
    }
    return f.finish({ y: x });
  },
  "one value": (api, opCount) => {
    const f = new api.FunctionBuilder("main");
    const x = f.input("x", api.tensorType("fp16", [1, 64]));
    const base = f.op("floor", { x });
    let y = x;
    for (let written = 0; written < opCount; written++) y = f.op("maximum", { x: y, y: base });
    return f.finish({ y });
  },
  ports(api, opCount) {
    const f = new api.FunctionBuilder("main");
    const results = {};
    for (let written = 0; written < opCount; written += 2) {
      const x = f.input(`x_${written}`, api.tensorType("fp32", [4]));
      results[`y_${written}`] = f.op("reduce_sum", {
        x: f.op("square", { x }),
        axes: [0],
        keep_dims: false,
      });
    }
    return f.finish(results);
  },
};

const STEPS = {
  check: (api, fn, chip) => api.checkFunction(fn, chip, "e5rt"),
  estimate: (api, fn, chip) => api.estimateFunction(fn, chip, "e5rt"),
  rewrite: (api, fn, chip) => api.applyRemedies(fn, chip, "e5rt"),
};

function measure(api, fn, step) {
  const chip = api.chipByName("m4");
  const cpu = process.cpuUsage();
  const started = performance.now();
  STEPS[step](api, fn, chip);
  const elapsedMs = performance.now() - started;
  const { user, system } = process.cpuUsage(cpu);
  return { elapsedMs, processorMs: (user + system) / 1000 };
}

const here = await buildAt(new URL("..", import.meta.url).pathname);
const there = values.root === undefined ? undefined : await buildAt(values.root);
const rows = [];
const cases = SIZES.flatMap((ops) => Object.keys(PROGRAMS).map((program) => ({ ops, program })));
for (const { ops, program } of cases) {
  const fn = PROGRAMS[program](here, ops);
  const otherFn = there === undefined ? undefined : PROGRAMS[program](there, ops);
  for (const step of Object.keys(STEPS)) {
    const own = [];
    const other = [];
    for (let round = 0; round < ROUNDS; round++) {
      own.push(measure(here, fn, step).processorMs);
      if (there !== undefined) other.push(measure(there, otherFn, step).processorMs);
    }
    const row = { ops, program, step, processorMs: Math.round(median(own)) };
    if (there !== undefined) {
      row.otherProcessorMs = Math.round(median(other));
      row.ratio = Number((median(other) / median(own)).toFixed(2));
    }
    rows.push(row);
    const beside =
      there === undefined ? "" : `, other build ${row.otherProcessorMs} ms, ratio ${row.ratio}`;
    process.stderr.write(
      `${ops} ops, ${program}, ${step}: ${row.processorMs} ms of processor${beside}\n`,
    );
  }
}
if (values.json) process.stdout.write(`${JSON.stringify({ rounds: ROUNDS, rows })}\n`);
