// The engine's product arithmetic against published measurements, from their own seeds: errors of matrix products and
// of 3x3 convolutions, and where sums overflow.
//   npm run bench:product-error -- [--size N] [--convolution CHANNELS] [--chip NAME] [--arithmetic SET] [--json]
//     [--output FILE]
// The inputs are drawn by NumPy 2 (Debian's python3-numpy). With --json and --size the last line is
// {"N":…,"relative_error":…,"published":…}.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { build, isStale } from "../scripts/build.mjs";

if (isStale()) await build();
const { arithmeticOf, formatArithmetic, parseArithmetic } =
  await import("../dist/chip/arithmetic/arithmetic.js");
const { chipByName } = await import("../dist/chip/chips.js");
const { productRules } = await import("../dist/engine/sim/arithmetic.js");
const { HalfTensor } = await import("../dist/engine/sim/half-tensor.js");
const { Machine } = await import("../dist/engine/sim/machine.js");
const { SimulatedFunction } = await import("../dist/engine/sim/simulate.js");
const { FunctionBuilder } = await import("../dist/mil/builder.js");
const { tensorLiteral } = await import("../dist/mil/literal.js");
const { tensorType } = await import("../dist/mil/types.js");
const { float16Value, roundToFloat16 } = await import("../dist/util/float16.js");

const { values } = parseArgs({
  options: {
    size: { type: "string" },
    convolution: { type: "string" },
    chip: { type: "string" },
    arithmetic: { type: "string", default: "2026-11" },
    json: { type: "boolean", default: false },
    output: { type: "string" },
  },
});
const choice = formatArithmetic(parseArithmetic(values.arithmetic));

/** Relative L2 error of the first 256 rows of x W^T, equal on M1 Max, M2 Max, M4 Max, M5 and M6. */
const PRODUCTS = [
  [512, 0.00257800397023792],
  [1024, 0.005528352999597525],
  [2048, 0.012131920427695623],
  [4096, 0.027237621125542212],
];
/** The same of a 3x3 convolution of 64x64 places, first of a batch. */
const CONVOLUTIONS = [
  { channels: 64, batch: 8, chip: "m1-max", published: 0.0003671660721200674 },
  { channels: 64, batch: 16, chip: "m4-max", published: 0.00036713452579315676 },
  { channels: 64, batch: 8, chip: "m5", published: 0.0005162338465671137 },
  { channels: 128, batch: 8, chip: "m5", published: 0.0005214500415248461 },
];
const PUBLISHED_CEILING = 32758.8;
const machine = new Machine(2);

/** Operands in doubles and as fp16 numbers. */
function inputs(...settings) {
  const folder = mkdtempSync(join(tmpdir(), "anecdote-inputs-"));
  try {
    const script = fileURLToPath(new URL("published_inputs.py", import.meta.url));
    execFileSync("python3", [script, ...settings, folder], {
      stdio: ["ignore", "inherit", "inherit"],
    });
    const read = (name) => {
      const bytes = readFileSync(join(folder, name));
      return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
    };
    const halves = (name) => Float32Array.from(new Uint16Array(read(name)), float16Value);
    return {
      x: new Float64Array(read("x.bin")),
      w: new Float64Array(read("w.bin")),
      xHalf: halves("x.half"),
      wHalf: halves("w.half"),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Square root of the sum of squared differences over that of the right numbers, by rows. */
function relativeError(got, exactRow, rows, columns) {
  let error = 0;
  let norm = 0;
  for (let row = 0; row < rows; row++) {
    const exact = exactRow(row);
    let rowError = 0;
    let rowNorm = 0;
    for (let column = 0; column < columns; column++) {
      rowError += (got[row * columns + column] - exact[column]) ** 2;
      rowNorm += exact[column] ** 2;
    }
    error += rowError;
    norm += rowNorm;
  }
  return Math.sqrt(error / norm);
}

function productError(size, chip) {
  const { x, w, xHalf, wHalf } = inputs("gemm", String(size));
  const rows = x.length / size;
  const place = (numbers) => {
    const address = machine.arena.allocate(4 * numbers.length);
    machine.arena.floats(address, numbers.length).set(numbers);
    return address;
  };
  const left = { address: place(xHalf), rowStep: size, columnStep: 1 };
  const right = { address: place(wHalf), rowStep: 1, columnStep: size };
  const result = machine.arena.allocate(4 * rows * size);
  const rules = productRules(arithmeticOf(chip.family, choice), "matmul");
  const sizes = { rows, depth: size, columns: size };
  machine.products.multiply([{ left, right, result }], sizes, rules, "exact");
  const got = machine.arena.floats(result, rows * size).slice();
  machine.arena.reset();
  const exact = new Float64Array(size);
  return relativeError(
    got,
    (row) => {
      for (let j = 0; j < size; j++) {
        let sum = 0;
        for (let k = 0; k < size; k++) sum += x[row * size + k] * w[j * size + k];
        exact[j] = sum;
      }
      return exact;
    },
    rows,
    size,
  );
}

const EDGE = 64;

function convolutionError(channels, batch, chip) {
  const { x, w, xHalf, wHalf } = inputs("convolution", String(channels), String(batch));
  const shape = [1, channels, EDGE, EDGE];
  const builder = new FunctionBuilder("main");
  const input = builder.input("x", tensorType("fp16", shape));
  const weight = builder.constant(tensorLiteral("fp16", [channels, channels, 3, 3], [...wHalf]));
  const y = builder.op("conv", { x: input, weight, pad_type: "custom", pad: [1, 1, 1, 1] });
  const fn = new SimulatedFunction(builder.finish({ y }), "engine");
  const tensor = HalfTensor.allocate(machine.arena, "fp16", shape);
  tensor.numbers().set(xHalf);
  const results = fn.run(new Map([["x", tensor]]), {
    place: "engine",
    numerics: "exact",
    machine,
    arithmetic: arithmeticOf(chip.family, choice),
    clampSlices: false,
  });
  const got = results.get("y").data;
  fn.release();
  machine.arena.reset();
  const places = EDGE * EDGE;
  const exact = new Float64Array(places);
  return relativeError(
    got,
    (output) => {
      exact.fill(0);
      for (let channel = 0; channel < channels; channel++) {
        for (let i = 0; i < 3; i++) {
          for (let j = 0; j < 3; j++) {
            const factor = w[((output * channels + channel) * 3 + i) * 3 + j];
            for (let row = Math.max(0, 1 - i); row < Math.min(EDGE, EDGE + 1 - i); row++) {
              const from = (channel * EDGE + row + i - 1) * EDGE + j - 1;
              for (let column = Math.max(0, 1 - j); column < Math.min(EDGE, EDGE + 1 - j); column++)
                exact[row * EDGE + column] += factor * x[from + column];
            }
          }
        }
      }
      return exact;
    },
    channels,
    places,
  );
}

/** Largest sum that is finite and least that is not: `length` equal terms, the published probe. */
function overflow(length, chip) {
  const ones = machine.arena.allocate(4 * length);
  const terms = machine.arena.allocate(4 * length);
  const result = machine.arena.allocate(4);
  machine.arena.floats(ones, length).fill(1);
  const left = { address: ones, rowStep: length, columnStep: 1 };
  const right = { address: terms, rowStep: 1, columnStep: 1 };
  const sizes = { rows: 1, depth: length, columns: 1 };
  const rules = productRules(arithmeticOf(chip.family, choice), "matmul");
  const isFinite = (total) => {
    machine.arena.floats(terms, length).fill(roundToFloat16(total / length));
    machine.products.multiply([{ left, right, result }], sizes, rules, "exact");
    return Number.isFinite(machine.arena.floats(result, 1)[0]);
  };
  let [finite, infinite] = [30000, 40000];
  while (infinite - finite > 2) {
    const middle = 0.5 * (finite + infinite);
    if (isFinite(middle)) finite = middle;
    else infinite = middle;
  }
  machine.arena.reset();
  return { length, bisected: Math.round(10 * finite) / 10, published: PUBLISHED_CEILING };
}

const isAll = values.size === undefined && values.convolution === undefined;
const chosen = (chip) => chipByName(values.chip ?? chip);
const products = PRODUCTS.filter(
  ([size]) => (isAll && size <= 2048) || String(size) === values.size,
).map(([N, published]) => ({ N, relative_error: productError(N, chosen("m4")), published }));
const convolutions = CONVOLUTIONS.filter(
  ({ channels }) => isAll || String(channels) === values.convolution,
).map(({ channels, batch, chip, published }) => ({
  channels,
  batch,
  chip: chosen(chip).id,
  relative_error: convolutionError(channels, batch, chosen(chip)),
  published,
}));
const overflows = isAll ? [4, 32, 128, 1024].map((length) => overflow(length, chosen("m4"))) : [];
await machine.close();
if (products.length + convolutions.length === 0)
  throw new Error(
    `published are sizes ${PRODUCTS.map(([size]) => size).join(", ")} and convolutions of 64 and 128 channels`,
  );
const report = {
  date: new Date().toISOString().slice(0, 10),
  commit: execFileSync("git", ["rev-parse", "--short", "HEAD"], { encoding: "utf8" }).trim(),
  machine: { cpu: cpus()[0]?.model, node: process.version },
  arithmetic: choice,
  products,
  convolutions,
  overflows,
};
if (values.output !== undefined)
  writeFileSync(values.output, `${JSON.stringify(report, null, 2)}\n`);
const deviation = ({ relative_error, published }) =>
  `published ${published}, reproduced ${relative_error} (${(relative_error / published - 1).toExponential(1)})`;
if (values.json) {
  if (isAll) process.stdout.write(`${JSON.stringify(report)}\n`);
  for (const row of [...convolutions, ...products])
    process.stdout.write(`${JSON.stringify(row)}\n`);
} else {
  for (const row of products)
    process.stdout.write(`N = ${String(row.N).padStart(4)}: ${deviation(row)}\n`);
  for (const row of convolutions)
    process.stdout.write(`3x3, ${row.channels} channels, ${row.chip}: ${deviation(row)}\n`);
  for (const { length, bisected, published } of overflows)
    process.stdout.write(
      `sums of ${String(length).padStart(4)} equal terms: the bisection ends at ${bisected}, published ${published}\n`,
    );
}
