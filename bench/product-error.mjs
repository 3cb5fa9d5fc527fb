// The engine's product arithmetic against published measurements: GEMM errors at N = 512 to 8192, and where sums
// overflow: node bench/product-error.mjs [--json] [--output FILE]
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { build, isStale } from "../scripts/build.mjs";

if (isStale()) build();
const { Machine } = await import("../dist/engine/sim/machine.js");
const { roundToFloat16 } = await import("../dist/util/float16.js");
const { Random } = await import("../dist/util/random.js");

const { values } = parseArgs({
  options: { json: { type: "boolean", default: false }, output: { type: "string" } },
});

/** Relative L2 error of x W^T, x and W from N(0, 1/N): M1 Max, M4 Max and M6 agree up to 4096, then M4 Max. */
const PUBLISHED = [
  [512, 0.00257800397],
  [1024, 0.005528353],
  [2048, 0.01213192],
  [4096, 0.02723762],
  [6144, 0.04399047],
  [8192, 0.06163807],
];
const ROWS = 192;
const COLUMNS = 192;
const machine = new Machine(2);
const rows = [];

for (const [size, published] of PUBLISHED) {
  const random = new Random(1);
  const normals = (count) =>
    new Float64Array(count).map(() => Math.fround(random.normal() / Math.sqrt(size)));
  const x = normals(ROWS * size);
  const w = normals(COLUMNS * size);
  const place = (numbers) => {
    const address = machine.arena.allocate(4 * numbers.length);
    machine.arena.floats(address, numbers.length).set(numbers.map(roundToFloat16));
    return address;
  };
  const left = { address: place(x), rowStep: size, columnStep: 1 };
  const right = { address: place(w), rowStep: 1, columnStep: size };
  const result = machine.arena.allocate(4 * ROWS * COLUMNS);
  const sizes = { rows: ROWS, depth: size, columns: COLUMNS };
  machine.products.multiply([{ left, right, result }], sizes, "nearest", "exact");
  const got = machine.arena.floats(result, ROWS * COLUMNS);
  let error = 0;
  let norm = 0;
  for (let i = 0; i < ROWS; i++) {
    for (let j = 0; j < COLUMNS; j++) {
      let exact = 0;
      for (let k = 0; k < size; k++) exact += x[i * size + k] * w[j * size + k];
      error += (got[i * COLUMNS + j] - exact) ** 2;
      norm += exact ** 2;
    }
  }
  machine.arena.reset();
  rows.push({ size, published, reproduced: Math.sqrt(error / norm) });
}

/** Largest sum that is finite and least that is not: `length` equal terms, the published probe. */
function overflow(length) {
  const ones = machine.arena.allocate(4 * length);
  const terms = machine.arena.allocate(4 * length);
  const result = machine.arena.allocate(4);
  machine.arena.floats(ones, length).fill(1);
  const left = { address: ones, rowStep: length, columnStep: 1 };
  const right = { address: terms, rowStep: 1, columnStep: 1 };
  const sizes = { rows: 1, depth: length, columns: 1 };
  const isFinite = (total) => {
    machine.arena.floats(terms, length).fill(roundToFloat16(total / length));
    machine.products.multiply([{ left, right, result }], sizes, "nearest", "exact");
    return Number.isFinite(machine.arena.floats(result, 1)[0]);
  };
  let [finite, infinite] = [1, 65504];
  while (infinite - finite > 1) {
    const middle = Math.floor((finite + infinite) / 2);
    if (isFinite(middle)) finite = middle;
    else infinite = middle;
  }
  machine.arena.reset();
  const sumOf = (total) => length * roundToFloat16(total / length);
  return { length, largest_finite: sumOf(finite), least_infinite: sumOf(infinite) };
}
const PUBLISHED_CEILING = 32758.8;
const overflows = [4, 32, 128, 1024].map(overflow);
await machine.close();
const report = {
  date: new Date().toISOString().slice(0, 10),
  commit: execFileSync("git", ["rev-parse", "--short", "HEAD"], { encoding: "utf8" }).trim(),
  machine: { cpu: cpus()[0]?.model, node: process.version },
  protocol: `${ROWS} x ${COLUMNS} results of x W^T, x and W from N(0, 1/N), relative L2 error against doubles; sums of equal terms around the published ceiling`,
  rows: rows.map((row) => ({ ...row, relative: row.reproduced / row.published - 1 })),
  published_ceiling: PUBLISHED_CEILING,
  overflows,
};
if (values.output !== undefined)
  writeFileSync(values.output, `${JSON.stringify(report, null, 2)}\n`);
if (values.json) process.stdout.write(`${JSON.stringify(report)}\n`);
else {
  for (const { size, published, reproduced } of rows) {
    process.stdout.write(
      `N = ${String(size).padStart(4)}: published ${published.toFixed(6)}, reproduced ${reproduced.toFixed(6)} (${((reproduced / published - 1) * 100).toFixed(1)} %)\n`,
    );
  }
  for (const { length, largest_finite, least_infinite } of overflows) {
    process.stdout.write(
      `sums of ${String(length).padStart(4)}: ${largest_finite} is finite, ${least_infinite} infinite; published ceiling ${PUBLISHED_CEILING}\n`,
    );
  }
}
