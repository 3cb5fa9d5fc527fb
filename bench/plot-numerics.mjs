// Draws the result file of bench/numerics.mjs into docs/images: losses, loss scale, products against the grid.
//   node bench/plot-numerics.mjs [--results bench/results/numerics.json] [--out docs/images]
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { roundStep } from "../dist/util/plot/scale.js";
import { drawing, FAINT, lineAt, pathThrough, textAt } from "../dist/util/plot/svg.js";

const { values } = parseArgs({
  options: {
    results: { type: "string", default: "bench/results/numerics.json" },
    out: { type: "string", default: "docs/images" },
  },
});
const results = JSON.parse(readFileSync(values.results, "utf8"));
mkdirSync(values.out, { recursive: true });

const WIDTH = 640;
const HEIGHT = 360;
const LEFT = 64;
const RIGHT = 16;
const TOP = 36;
const BOTTOM = 48;
const COLOURS = {
  cpu: "#1b6ca8",
  nudged: "#6aa5d6",
  "nudged-twice": "#9fc5e8",
  sim: "#d95f02",
  unscaled: "#7f7f7f",
  august: "#8f7500",
  "any-order": "#2b8a4b",
  "two-units": "#8b5cb8",
  even: "#c2387f",
  "wide-sums": "#3c3f45",
  "exact-tables": "#17a2a8",
};
const LABELS = {
  cpu: "CPU engine, fp32",
  nudged: "fp32, rate + 1e-6",
  "nudged-twice": "fp32, rate + 2e-6",
  sim: "sim:m4",
  unscaled: "sim:m4, --scaling off",
  august: "sim:m4, 2026-08",
  "any-order": "sim:m4, any-order",
  "two-units": "sim:m4, two-units",
  even: "sim:m4, half to even",
  "wide-sums": "sim:m4, wide sums",
  "exact-tables": "sim:m4, exact tables",
};

function ticksOf(low, high, count = 6) {
  const step = roundStep((high - low) / count);
  const first = Math.ceil(low / step - 1e-9) * step;
  return Array.from({ length: Math.floor((high - first) / step + 1e-9) + 1 }, (_, i) =>
    Number((first + i * step).toPrecision(12)),
  );
}

/** Lines over a common pair of axes. A line is { label, colour, points: [[x, y], ...] }. */
function chart({ title, xLabel, yLabel, lines, marks = [], yTick = String }) {
  const isKnown = ([x, y]) => Number.isFinite(x + y);
  const all = lines.flatMap(({ points }) => points).filter(isKnown);
  const xs = [...all.map(([x]) => x), ...marks.map(({ x }) => x)];
  const ys = all.map(([, y]) => y);
  const [x0, x1] = [Math.min(...xs), Math.max(...xs)];
  const [y0, y1] = [Math.min(...ys), Math.max(...ys)];
  const pad = (y1 - y0 || 1) * 0.05;
  const toX = (x) => LEFT + ((x - x0) / (x1 - x0 || 1)) * (WIDTH - LEFT - RIGHT);
  const toY = (y) =>
    HEIGHT - BOTTOM - ((y - y0 + pad) / (y1 - y0 + 2 * pad || 1)) * (HEIGHT - TOP - BOTTOM);
  const parts = [
    textAt(LEFT, 20, title, { size: 14 }),
    ...ticksOf(y0 - pad, y1 + pad).flatMap((y) => [
      lineAt(LEFT, toY(y), WIDTH - RIGHT, toY(y), FAINT),
      textAt(LEFT - 6, toY(y) + 4, yTick(y), { anchor: "end" }),
    ]),
    ...ticksOf(x0, x1, 8).map((x) =>
      textAt(toX(x), HEIGHT - BOTTOM + 16, `${x}`, { anchor: "middle" }),
    ),
    ...marks.flatMap(({ x, label }) => [
      lineAt(toX(x), TOP, toX(x), HEIGHT - BOTTOM, "#b00", "4 3"),
      textAt(toX(x) + 4, TOP + 12, label, { fill: "#b00" }),
    ]),
    ...lines.flatMap(({ label, colour, points, dash = "" }, index) => {
      const y = TOP + 14 + 16 * index;
      const path = points.filter(isKnown).map(([px, py]) => [toX(px), toY(py)]);
      return [
        pathThrough(path, colour, dash),
        lineAt(WIDTH - 190, y - 4, WIDTH - 166, y - 4, colour, dash),
        textAt(WIDTH - 160, y, label),
      ];
    }),
    textAt((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, xLabel, { anchor: "middle" }),
    textAt(14, HEIGHT / 2, yLabel, { anchor: "middle", rotate: true }),
  ];
  return drawing({ width: WIDTH, height: HEIGHT, title, description: yLabel }, parts);
}

function write(name, svg) {
  const path = join(values.out, name);
  writeFileSync(path, svg);
  console.log(path);
}

for (const [preset, { runs }] of Object.entries(results.presets ?? {})) {
  const known = Object.entries(runs).filter(([, { curve }]) => curve.length > 1);
  if (known.length === 0) continue;
  write(
    `numerics-loss-${preset}.svg`,
    chart({
      title: `${preset}: training loss`,
      xLabel: "updates",
      yLabel: "nats a token",
      lines: known.map(([name, { curve }]) => ({
        label: LABELS[name],
        colour: COLOURS[name],
        points: curve,
        ...(name === "sim" && { dash: "5 3" }),
      })),
    }),
  );
  const scale = runs.sim?.lossScale ?? [];
  if (scale.length > 1)
    write(
      `numerics-loss-scale-${preset}.svg`,
      chart({
        title: `${preset}: loss scale on sim:m4, ${runs.sim.overflows.length} overflows`,
        xLabel: "updates",
        yLabel: "loss scale",
        yTick: (y) => `2^${y}`,
        lines: [
          {
            label: LABELS.sim,
            colour: COLOURS.sim,
            points: scale.map(([step, value]) => [step, Math.log2(value)]),
          },
        ],
      }),
    );
}

for (const { preset, weights, off, auto } of results.products ?? []) {
  const shares = (histograms) => {
    const sum = new Map();
    let total = 0;
    for (const histogram of Object.values(histograms))
      for (const [place, count] of Object.entries(histogram)) {
        sum.set(Number(place), (sum.get(Number(place)) ?? 0) + count);
        total += count;
      }
    const places = [...sum.keys()];
    const [low, high] = [Math.min(...places), Math.max(...places)];
    return Array.from({ length: high - low + 1 }, (_, i) => [
      low + i,
      (100 * (sum.get(low + i) ?? 0)) / total,
    ]);
  };
  write(
    `numerics-products-${preset}-${weights}.svg`,
    chart({
      title: `${preset}: products of a step, ${weights} weights`,
      xLabel: "log2 of a product",
      yLabel: "% of products",
      marks: [{ x: -15.4, label: "lost on the left" }],
      lines: [
        { label: "operands as they are", colour: COLOURS.unscaled, points: shares(off) },
        { label: "operands scaled", colour: COLOURS.sim, points: shares(auto) },
      ],
    }),
  );
}
