// Products of few rows by a model's matrices, [rows, depth] x [columns, depth] turned: the row program's kernel, ONNX Runtime
// with the matrix as an input (packed in every run), and as a constant (packed once). Interleaved; medians of processor time.
// Also tells whether a row's sums have the same bits whatever number of rows stands beside it.
// Usage: node bench/row-products.mjs [--rows 1,2,4,8,16,32] [--shapes 288x768,288x32000] [--rounds 7] [--threads 1]
import { parseArgs } from "node:util";
import { openNativeRuntime } from "../dist/engine/cpu/onnx-runtime/ort-native.js";
import { tiledRows } from "../dist/engine/cpu/rows/tiles.js";
import { hostKernels } from "../dist/engine/host/kernel-module.js";
import { FunctionBuilder } from "../dist/mil/builder.js";
import { tensorLiteral } from "../dist/mil/literal.js";
import { tensorType } from "../dist/mil/types.js";
import { functionToOnnx } from "../dist/onnx/lower-function.js";
import { Random } from "../dist/util/random.js";
import { median } from "./median.mjs";

const { values } = parseArgs({
  options: {
    rows: { type: "string", default: "1,2,4,8,16,32" },
    shapes: { type: "string", default: "288x768,288x32000" },
    rounds: { type: "string", default: "7" },
    threads: { type: "string", default: "1" },
  },
});
const rowCounts = values.rows.split(",").map(Number);
const threads = Number(values.threads);
const runtime = openNativeRuntime({ threads });
if (typeof runtime === "string") throw new Error(runtime);

const drawn = (count, seed) => {
  const random = new Random(seed);
  return Float32Array.from({ length: count }, () => random.normal());
};
/** Numbers in memory that native code may read. */
function place(name, shape, numbers) {
  const byteLength = 4 * shape.reduce((product, size) => product * size, 1);
  const buffer = new SharedArrayBuffer(byteLength);
  if (numbers !== undefined) new Float32Array(buffer).set(numbers);
  return { name, shape, dataType: "fp32", buffer, byteOffset: 0, byteLength };
}

async function graph(rows, depth, columns, matrix, kind) {
  const builder = new FunctionBuilder();
  const x = builder.input("x", tensorType("fp32", [rows, depth]));
  const isInput = kind === "input";
  const y = isInput
    ? builder.input("w", tensorType("fp32", [columns, depth]))
    : builder.constant(tensorLiteral("fp32", [columns, depth], matrix), "w");
  const product = builder.op("matmul", { x, y, transpose_y: true });
  const { bytes } = functionToOnnx(builder.finish({ y: product }));
  const compiled = await runtime.compile(bytes, { spins: false });
  const out = place("out:y", [rows, columns]);
  const left = place("in:x", [rows, depth], drawn(rows * depth, 3));
  const inputs = [left, ...(isInput ? [place("in:w", [columns, depth], matrix)] : [])];
  const { run } = compiled.bind(inputs, [out]);
  return { run, result: new Float32Array(out.buffer) };
}

/** The row program's kernel alone, on one thread: a program of one product. */
function kernel(rows, depth, columns, matrix) {
  const inTiles = tiledRows(rows);
  const bytes =
    65_536 + 4 * (rows * depth + columns * depth + rows * columns + inTiles * depth) + 64;
  const pages = Math.ceil(bytes / 65_536) + 1;
  const memory = new WebAssembly.Memory({ initial: pages, maximum: 65_536, shared: true });
  const instance = new WebAssembly.Instance(hostKernels().module, { env: { memory } });
  const [state, program, x] = [1024, 32_768, 65_536];
  const w = x + 4 * rows * depth;
  const y = w + 4 * columns * depth;
  const tiles = inTiles === 0 ? 0 : 16 * Math.ceil((y + 4 * rows * columns) / 16);
  new Float32Array(memory.buffer, x, rows * depth).set(drawn(rows * depth, 3));
  new Float32Array(memory.buffer, w, columns * depth).set(matrix);
  const words = new Uint32Array(memory.buffer, program, 72);
  // Rows are brought into tiles, if there are enough of them; one chunk of a product takes 64 KiB of the matrix.
  const perChunk = Math.min(columns, 4 * Math.ceil(4096 / depth));
  const chunks = Math.ceil(columns / perChunk);
  if (tiles !== 0) words.set([17, 0, 0, x, tiles, rows, depth]);
  words.set([10, 0, chunks, x, w, y, rows, depth, columns, perChunk, tiles], tiles === 0 ? 0 : 24);
  const stateBytes = new Uint8Array(memory.buffer, state, 128 + chunks);
  const run = () => {
    stateBytes.fill(0);
    instance.exports.runRows(program, state, 0, 0, 1);
  };
  return { run, result: new Float32Array(memory.buffer, y, rows * columns) };
}

for (const shape of values.shapes.split(",")) {
  const [depth, columns] = shape.split("x").map(Number);
  const matrix = drawn(columns * depth, 5);
  /** By way, the first row's sums of the fewest rows. */
  const firsts = new Map();
  for (const rows of rowCounts) {
    const ways = {
      kernel: kernel(rows, depth, columns, matrix),
      input: await graph(rows, depth, columns, matrix, "input"),
      constant: await graph(rows, depth, columns, matrix, "constant"),
    };
    const times = new Map(Object.keys(ways).map((way) => [way, []]));
    const repeats = Math.max(3, Math.ceil(4e8 / (2 * rows * depth * columns)));
    for (let round = 0; round <= Number(values.rounds); round++) {
      for (const [way, { run }] of Object.entries(ways)) {
        const before = process.cpuUsage();
        for (let repeat = 0; repeat < repeats; repeat++) run();
        const { user, system } = process.cpuUsage(before);
        if (round > 0) times.get(way).push((user + system) / 1000 / repeats);
      }
    }
    const cells = Object.entries(ways).map(([way, { result }]) => {
      const first = result.slice(0, columns);
      if (!firsts.has(way)) firsts.set(way, first);
      const isEqual = firsts.get(way).every((sum, index) => Object.is(sum, first[index]));
      const ms = median(times.get(way));
      const rate = (2 * rows * depth * columns) / ms / 1e6;
      return `${way} ${ms.toFixed(3)} ms (${rate.toFixed(0)} GFLOP/s, bits of ${rowCounts[0]} row${rowCounts[0] === 1 ? "" : "s"}: ${isEqual ? "yes" : "no"})`;
    });
    console.log(`[${rows}, ${depth}] x [${depth}, ${columns}]: ${cells.join(", ")}`);
  }
}
