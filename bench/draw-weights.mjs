// Nanoseconds a number that drawing a new model's weights takes: one weight a layer's size, in shared memory, on one
// thread and on all, by wall clock and by processor time; the plain JavaScript of the same bits beside it, in turn.
//
//   node bench/draw-weights.mjs [--millions 64] [--rounds 3] [--json]
import { availableParallelism, loadavg } from "node:os";
import { parseArgs } from "node:util";
import { drawNormals } from "../dist/model/draw-weights.js";
import { Random } from "../dist/util/random.js";
import { median } from "./median.mjs";

const { values } = parseArgs({
  options: {
    millions: { type: "string", default: "64" },
    rounds: { type: "string", default: "3" },
    json: { type: "boolean", default: false },
  },
});
const ARRAYS = 16;
const length = Math.round((Number(values.millions) * 1e6) / ARRAYS);
const arrays = Array.from({ length: ARRAYS }, (_, index) => ({
  state: new Random(index).state,
  standardDeviation: 0.02,
  target: new Float32Array(new SharedArrayBuffer(4 * length)),
}));

/** One number after the other, as a language without kernels draws them. */
function plain({ state, standardDeviation, target }) {
  const random = new Random(state);
  for (let i = 0; i < target.length; i += 2) {
    let x, y, square;
    do {
      x = random.uint32() / 2147483648 - 1;
      y = random.uint32() / 2147483648 - 1;
      square = x * x + y * y;
    } while (square >= 1 || square === 0);
    const scale = standardDeviation * Math.sqrt((-2 * Math.log(square)) / square);
    target[i] = x * scale;
    if (i + 1 < target.length) target[i + 1] = y * scale;
  }
}

const ways = {
  plain: () => plain(arrays[0]),
  "one thread": () => drawNormals(arrays, 1),
  [`${availableParallelism()} threads`]: () => drawNormals(arrays),
};
const rows = Object.fromEntries(
  Object.keys(ways).map((name) => [name, { wall: [], processor: [] }]),
);
for (let round = 0; round < Number(values.rounds); round += 1) {
  for (const [name, run] of Object.entries(ways)) {
    const count = (name === "plain" ? 1 : ARRAYS) * length;
    const startedMs = performance.now();
    const before = process.cpuUsage();
    run();
    const { user, system } = process.cpuUsage(before);
    rows[name].wall.push((1e6 * (performance.now() - startedMs)) / count);
    rows[name].processor.push((1e3 * (user + system)) / count);
  }
}
const told = Object.entries(rows).map(([name, { wall, processor }]) => ({
  name,
  wallNs: median(wall),
  processorNs: median(processor),
}));
if (values.json) console.log(JSON.stringify({ load: loadavg()[0], rows: told }));
else {
  console.log(`load ${loadavg()[0].toFixed(1)}; nanoseconds a number, wall and processor time`);
  for (const { name, wallNs, processorNs } of told)
    console.log(
      `${name.padEnd(12)} ${wallNs.toFixed(2).padStart(7)} ${processorNs.toFixed(2).padStart(7)}`,
    );
}
