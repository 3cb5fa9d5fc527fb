// Speed of the simulator's product kernel: npm run bench:sim -- [--threads N] [--json]
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { build, isStale } from "../scripts/build.mjs";

if (isStale()) build();
const { GridProducts } = await import("../dist/engine/sim/grid-products.js");
const { roundToFloat16 } = await import("../dist/util/float16.js");
const { Random } = await import("../dist/util/random.js");

const { values } = parseArgs({
  options: {
    threads: { type: "string", default: String(Math.min(2, availableParallelism())) },
    json: { type: "boolean", default: false },
  },
});
const threads = Number(values.threads);
const products = new GridProducts(threads);
const random = new Random(1);
const results = [];

for (const [rows, depth, columns] of [
  [256, 768, 768],
  [256, 768, 2048],
  [512, 1024, 1024],
  [1024, 2048, 2048],
]) {
  const matrix = (count) =>
    new Float64Array(count).map(() => roundToFloat16(random.normal() / Math.sqrt(depth)));
  const left = { data: matrix(rows * depth), start: 0, rowStep: depth, columnStep: 1 };
  const right = { data: matrix(depth * columns), start: 0, rowStep: columns, columnStep: 1 };
  const result = new Float64Array(rows * columns);
  for (const numerics of ["exact", "fp16"]) {
    let best = Infinity;
    const before = process.cpuUsage();
    for (let run = 0; run < 12; run++) {
      const started = performance.now();
      products.multiply(left, right, { rows, depth, columns }, result, 0, "nearest", numerics);
      best = Math.min(best, performance.now() - started);
    }
    const used = process.cpuUsage(before);
    const cpuSeconds = (used.user + used.system) / 1e6;
    results.push({
      rows,
      depth,
      columns,
      numerics,
      threads,
      gmacs_per_second: (rows * depth * columns) / best / 1e6,
      // What a core does while it is ours: tells on a busy machine.
      gmacs_per_cpu_second: (12 * rows * depth * columns) / cpuSeconds / 1e9,
    });
  }
}
await products.close();
if (values.json) process.stdout.write(`${JSON.stringify(results)}\n`);
else {
  for (const row of results) {
    process.stdout.write(
      `${row.rows} x ${row.depth} x ${row.columns} ${row.numerics.padEnd(5)} ${row.gmacs_per_second.toFixed(2)} G multiply-accumulates/s on ${threads} threads, ${row.gmacs_per_cpu_second.toFixed(2)} G a CPU second\n`,
    );
  }
}
