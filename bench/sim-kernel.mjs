// Speed of the simulator's product kernel, packing included: npm run bench:sim -- [--threads N] [--json]
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { build, isStale } from "../scripts/build.mjs";

if (isStale()) build();
const { Machine } = await import("../dist/engine/sim/machine.js");
const { Random } = await import("../dist/util/random.js");

const { values } = parseArgs({
  options: {
    threads: { type: "string", default: String(Math.min(2, availableParallelism())) },
    json: { type: "boolean", default: false },
  },
});
const RUNS = 12;
const threads = Number(values.threads);
const machine = new Machine(threads);
const random = new Random(1);
const results = [];

for (const [rows, depth, columns] of [
  [208, 32, 208],
  [832, 160, 160],
  [256, 768, 768],
  [256, 768, 2048],
  [512, 1024, 1024],
  [1024, 2048, 2048],
]) {
  const matrix = (count) => {
    const address = machine.arena.allocate(4 * count);
    const numbers = machine.arena.floats(address, count);
    for (let i = 0; i < count; i++) numbers[i] = random.normal() / Math.sqrt(depth);
    machine.round(address, address, count);
    return address;
  };
  const left = { address: matrix(rows * depth), rowStep: depth, columnStep: 1 };
  const right = { address: matrix(depth * columns), rowStep: columns, columnStep: 1 };
  const result = machine.arena.allocate(4 * rows * columns);
  // Small products are timed in batches of at least 50 million.
  const batch = Math.ceil(5e7 / (rows * depth * columns));
  const products = [{ left, right, result }];
  for (const numerics of ["exact", "fp16"]) {
    const run = () => {
      for (let i = 0; i < batch; i++)
        machine.products.multiply(products, { rows, depth, columns }, "nearest", numerics);
    };
    run();
    let bestMs = Infinity;
    const before = process.cpuUsage();
    for (let i = 0; i < RUNS; i++) {
      const started = performance.now();
      run();
      bestMs = Math.min(bestMs, performance.now() - started);
    }
    const used = process.cpuUsage(before);
    const cpuSeconds = (used.user + used.system) / 1e6;
    const macs = batch * rows * depth * columns;
    results.push({
      rows,
      depth,
      columns,
      numerics,
      threads,
      gmacs_per_second: macs / bestMs / 1e6,
      // What a core does while it is ours: tells on a busy machine.
      gmacs_per_cpu_second: (RUNS * macs) / cpuSeconds / 1e9,
    });
  }
  machine.arena.reset();
}
await machine.close();
if (values.json) process.stdout.write(`${JSON.stringify(results)}\n`);
else {
  for (const row of results) {
    process.stdout.write(
      `${row.rows} x ${row.depth} x ${row.columns} ${row.numerics.padEnd(5)} ${row.gmacs_per_second.toFixed(2)} G multiply-accumulates/s on ${threads} threads, ${row.gmacs_per_cpu_second.toFixed(2)} G a CPU second\n`,
    );
  }
}
