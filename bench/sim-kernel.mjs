// Speed of the simulator's product kernel, packing included: npm run bench:sim -- [--threads N] [--json]
//   [--against FOLDER]   another build's dist, timed in turn with this one: ratios of processor time
import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { build, isStale } from "../scripts/build.mjs";
import { median } from "./median.mjs";

if (isStale()) await build();
const { arithmeticOf } = await import("../dist/chip/arithmetic/arithmetic.js");
const { productRules } = await import("../dist/engine/sim/arithmetic.js");
const { Machine } = await import("../dist/engine/sim/machine.js");
const { Random } = await import("../dist/util/random.js");

const { values } = parseArgs({
  options: {
    threads: { type: "string", default: String(Math.min(2, availableParallelism())) },
    against: { type: "string" },
    json: { type: "boolean", default: false },
  },
});
const ROUNDS = 12;
const threads = Number(values.threads);
const random = new Random(1);
const results = [];

/** Kernels to time: a machine, and what its `multiply` takes after the sizes. */
const contenders = [
  ...["2026-11", "2026-08"].map((set) => ({
    name: set,
    machine: new Machine(threads),
    settings: [productRules(arithmeticOf("H16", set), "matmul"), "exact"],
  })),
  {
    name: "fp16",
    machine: new Machine(threads),
    settings: [productRules(arithmeticOf("H16"), "matmul"), "fp16"],
  },
];
if (values.against !== undefined) {
  const other = await import(pathToFileURL(resolve(values.against, "engine/sim/machine.js")).href);
  contenders.push({
    name: "against",
    machine: new other.Machine(threads),
    settings: ["nearest", "exact"],
  });
}

for (const [rows, depth, columns] of [
  [208, 32, 208],
  [832, 160, 160],
  [256, 768, 768],
  [256, 768, 2048],
  [512, 1024, 1024],
  [1024, 2048, 2048],
]) {
  const draw = (count) =>
    Float32Array.from({ length: count }, () => random.normal() / Math.sqrt(depth));
  const [a, b] = [draw(rows * depth), draw(depth * columns)];
  // Small products are timed in batches of at least 50 million.
  const batch = Math.ceil(5e7 / (rows * depth * columns));
  const runs = contenders.map(({ name, machine, settings }) => {
    const matrix = (numbers) => {
      const address = machine.arena.allocate(4 * numbers.length);
      machine.arena.floats(address, numbers.length).set(numbers);
      machine.round(address, address, numbers.length);
      return address;
    };
    const left = { address: matrix(a), rowStep: depth, columnStep: 1 };
    const right = { address: matrix(b), rowStep: columns, columnStep: 1 };
    const result = machine.arena.allocate(4 * rows * columns);
    const run = () => {
      for (let i = 0; i < batch; i++)
        machine.products.multiply([{ left, right, result }], { rows, depth, columns }, ...settings);
    };
    run();
    return { name, run, wallMs: [], cpuMs: [] };
  });
  for (let round = 0; round < ROUNDS; round++) {
    for (const { run, wallMs, cpuMs } of runs) {
      const before = process.cpuUsage();
      const started = performance.now();
      run();
      wallMs.push(performance.now() - started);
      const { user, system } = process.cpuUsage(before);
      cpuMs.push((user + system) / 1e3);
    }
  }
  const macs = batch * rows * depth * columns;
  const base = median(runs[0].cpuMs);
  for (const { name, wallMs, cpuMs } of runs) {
    results.push({
      ...{ rows, depth, columns, numerics: name, threads },
      gmacs_per_second: macs / Math.min(...wallMs) / 1e6,
      // What a core does while it is ours: tells on a busy machine.
      gmacs_per_cpu_second: macs / median(cpuMs) / 1e6,
      speed_against_2026_11: base / median(cpuMs),
    });
  }
  for (const { machine } of contenders) machine.arena.reset();
}
for (const { machine } of contenders) await machine.close();
if (values.json) process.stdout.write(`${JSON.stringify(results)}\n`);
else {
  for (const row of results) {
    process.stdout.write(
      `${row.rows} x ${row.depth} x ${row.columns} ${row.numerics.padEnd(7)} ${row.gmacs_per_second.toFixed(2)} G multiply-accumulates/s on ${threads} threads, ${row.gmacs_per_cpu_second.toFixed(2)} G a CPU second, ${row.speed_against_2026_11.toFixed(2)} of 2026-11's speed\n`,
    );
  }
}
