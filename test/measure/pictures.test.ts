import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Browser, Page } from "playwright-core";
import { CHIPS, chipByName } from "../../src/chip/chips.ts";
import type { Chip } from "../../src/chip/chip.ts";
import { estimateFunction, estimatePlan } from "../../src/chip/estimate.ts";
import type { EstimatedOp } from "../../src/chip/estimate.ts";
import { reportPage } from "../../src/measure/engine-bench/html/page.ts";
import { roofline } from "../../src/measure/engine-bench/html/plots.ts";
import type { EngineReport } from "../../src/measure/engine-bench/report.ts";
import { runBench } from "../../src/measure/engine-bench/run-bench.ts";
import { checkAccuracy } from "../../src/measure/published/accuracy.ts";
import { parseMeasuredRows } from "../../src/measure/published/measured-row.ts";
import { rooflineSvg } from "../../src/measure/published/roofline.ts";
import { accuracyScatter, chipMark } from "../../src/measure/published/scatter.ts";
import { FunctionBuilder } from "../../src/mil/builder.ts";
import { tensorLiteral } from "../../src/mil/literal.ts";
import type { MilFunction } from "../../src/mil/program.ts";
import { tensorType } from "../../src/mil/types.ts";
import { modelOf } from "../../src/model/model.ts";
import { MODEL_PRESETS } from "../../src/model/presets.ts";
import { buildTrainingPlan } from "../../src/train/step/step-plan.ts";
import { dotPlot } from "../../src/util/plot/index.ts";
import { NO_BROWSER, openBrowser } from "../helpers/chromium.ts";
import { transformerBlock } from "../helpers/transformer-block.ts";

/** A convolution, a product whose weights stream, and one that waits for its activations. */
function products(): MilFunction {
  const f = new FunctionBuilder("products");
  const image = f.input("image", tensorType("fp16", [1, 64, 32, 32]));
  const kernel = tensorLiteral("fp16", [64, 64, 3, 3], new Float32Array(64 * 64 * 9));
  const row = f.input("row", tensorType("fp16", [1, 4096]));
  const wide = f.input("wide", tensorType("fp16", [4096, 4096]));
  const rows = f.input("rows", tensorType("fp16", [2048, 64]));
  const narrow = f.input("narrow", tensorType("fp16", [64, 64]));
  const [pad, strides] = [
    [1, 1, 1, 1],
    [1, 1],
  ];
  return f.finish({
    convolved: f.op("conv", {
      ...{ x: image, weight: kernel, strides, pad, pad_type: "custom", dilations: [1, 1] },
      groups: 1,
    }),
    streamed: f.op("matmul", { x: row, y: wide }),
    moved: f.op("matmul", { x: rows, y: narrow }),
  });
}

const FUNCTIONS = [
  products(),
  transformerBlock({ batch: 1, rows: 64, heads: 4, headSize: 32, inner: 512 }),
];

function opsOn(chip: Chip): readonly (readonly EstimatedOp[])[] {
  return (["e5rt", "in-memory"] as const).flatMap((driver) =>
    FUNCTIONS.map((fn) => estimateFunction(fn, chip, driver).ops),
  );
}

interface Line {
  readonly x1: number;
  readonly y1: number;
  readonly x2: number;
  readonly y2: number;
  readonly stroke: string;
}

function attribute(element: string, name: string): string {
  return new RegExp(` ${name}="([^"]*)"`).exec(element)?.[1] ?? "";
}

/** Lines of a picture in its own units, down being more. */
function linesOf(svg: string): readonly Line[] {
  return [...svg.matchAll(/<line [^>]*>/g)].map(([element]) => ({
    x1: Number(attribute(element, "x1")),
    y1: Number(attribute(element, "y1")),
    x2: Number(attribute(element, "x2")),
    y2: Number(attribute(element, "y2")),
    stroke: attribute(element, "stroke"),
  }));
}

/** Middles of the marks: circles, squares and diamonds. */
function marksOf(svg: string): readonly { readonly x: number; readonly y: number }[] {
  const circles = [...svg.matchAll(/<circle cx="([\d.-]+)" cy="([\d.-]+)"/g)];
  const diamonds = [...svg.matchAll(/<path d="M([\d.-]+) ([\d.-]+)L[^"]*Z"/g)];
  const squares = [...svg.matchAll(/<rect x="([\d.-]+)" y="([\d.-]+)" width="10" height="10"/g)];
  return [
    ...circles.map(([, x, y]) => ({ x: Number(x), y: Number(y) })),
    ...diamonds.map(([, x, y]) => ({ x: Number(x), y: Number(y) + 6 })),
    ...squares.map(([, x, y]) => ({ x: Number(x) + 5, y: Number(y) + 5 })),
  ];
}

/** How high the highest line stands over a place, of those that reach over it. */
function topAt(lines: readonly Line[], x: number): number {
  return Math.min(
    ...lines.flatMap(({ x1, y1, x2, y2 }) =>
      x < x1 - 0.2 || x > x2 + 0.2 ? [] : [y1 + ((y2 - y1) * (x - x1)) / Math.max(x2 - x1, 1e-9)],
    ),
  );
}

describe("rooflines", () => {
  test("no op is faster than the roof that it names, on any chip through any driver", () => {
    for (const chip of CHIPS) {
      const ops = opsOn(chip).flat();
      const drawn = ops.filter(({ flops, roof }) => flops > 0 && roof !== undefined);
      expect(drawn.length).toBeGreaterThan(10);
      for (const { name, flops, ms, roof } of drawn) {
        const slope = ((flops / (roof?.bytes ?? 1)) * (roof?.gbps ?? 0)) / 1000;
        const highest = Math.min(roof?.tflops ?? 0, roof?.bytes === 0 ? Infinity : slope);
        expect(flops / ms / 1e9, `${chip.name}: ${name}`).toBeLessThanOrEqual(highest * 1.000001);
      }
    }
  });

  test("nor are the ops of a training step together", () => {
    const { plan } = buildTrainingPlan({
      model: modelOf(MODEL_PRESETS["stories15M"]),
      ...{ batchSize: 1, sequenceLength: 64 },
    });
    for (const name of ["m1", "m4", "m6"]) {
      const { ops } = estimatePlan(plan, chipByName(name), "e5rt");
      const matmul = ops.find(({ op }) => op === "matmul");
      const roof = matmul?.roof;
      const tflops = (matmul?.flops ?? 0) / (matmul?.ms ?? 1) / 1e9;
      expect(tflops).toBeGreaterThan(0);
      expect(tflops).toBeLessThanOrEqual(roof?.tflops ?? 0);
      const slope = (((matmul?.flops ?? 0) / (roof?.bytes ?? 1)) * (roof?.gbps ?? 0)) / 1000;
      expect(tflops).toBeLessThanOrEqual(slope);
    }
  });

  test("no mark of the picture stands above its lines, on any chip", () => {
    for (const chip of CHIPS) {
      for (const ops of opsOn(chip)) {
        const svg = rooflineSvg(chip, ops);
        const roofs = linesOf(svg).filter(({ stroke, y1 }) => stroke !== "#ccc" && y1 < 327);
        const marks = marksOf(svg);
        expect(marks.length).toBeGreaterThan(2);
        for (const { x, y } of marks) {
          expect(y, chip.name).toBeGreaterThanOrEqual(topAt(roofs, x) - 0.5);
        }
      }
    }
  });

  test.each(["m1", "m4", "m5-pro", "m6"])(
    "nor on the page of a bench of %s: int8, faster machines and all",
    async (name) => {
      const report = await predictedOf(name);
      for (const shown of [report, faster(report, 0.5), faster(report, 1)]) {
        const svg = roofline(shown);
        const guides = [
          ...svg.matchAll(/<path d="M([\d.-]+) ([\d.-]+)L([\d.-]+) ([\d.-]+)" fill="none"/g),
        ].map(([, x1, y1, x2, y2]) => ({
          ...{ x1: Number(x1), y1: Number(y1), x2: Number(x2), y2: Number(y2), stroke: "" },
        }));
        expect(guides.length).toBeGreaterThan(3);
        const marks = marksOf(svg);
        expect(marks.length).toBeGreaterThan(40);
        for (const { x, y } of marks) {
          expect(y, `${x} ${y}`).toBeGreaterThanOrEqual(topAt(guides, x) - 0.6);
        }
      }
      expect(roofline(faster(report, 0.5))).toContain("fastest seen");
    },
  );
});

const reports = new Map<string, Promise<EngineReport>>();

function predictedOf(name: string): Promise<EngineReport> {
  const known =
    reports.get(name) ??
    runBench({
      ...{ engine: `sim:${name}`, isQuick: false, resume: false, overwrite: false },
      isCancelled: () => false,
      onProgress: () => undefined,
      onResult: () => undefined,
    });
  reports.set(name, known);
  return known;
}

/** The report as if a machine that nobody has had been measured, so many times as slow as is predicted. */
function faster(report: EngineReport, factor: number): EngineReport {
  const cases = report.cases.map((result) => {
    const ms = result.predicted.ms * factor;
    return {
      ...result,
      status: result.status === "predicted" ? ("measured" as const) : result.status,
      timing: {
        ...{ runs: 1, median_ms: ms, p10_ms: ms, p90_ms: ms, minimum_ms: ms },
        quantiles_ms: Array.from({ length: 21 }, () => ms),
        ...{ prepare_ms: 0, first_run_ms: ms },
      },
    };
  });
  return { ...report, kind: "measured", cases, rows: [] };
}

describe("colours and forms", () => {
  test("no two chips have the same mark", () => {
    const marks = CHIPS.map((_, index) => chipMark(index, 0, 0, ""));
    expect(CHIPS.length).toBeGreaterThan(16);
    expect(new Set(marks).size).toBe(CHIPS.length);
  });

  test("the colours of series and of chips are far from each other", () => {
    const svg = readFileSync(new URL("../../src/util/plot/svg.ts", import.meta.url), "utf8");
    const hues = /const HUES = \[(.*?)\]/s.exec(svg)?.[1]?.match(/#[0-9a-f]{6}/g) ?? [];
    const chips = [
      ...new Set(
        CHIPS.map((_, index) => /fill="(#\w+)"/.exec(chipMark(index, 0, 0, ""))?.[1] ?? ""),
      ),
    ];
    for (const colours of [hues, chips]) {
      expect(colours.length).toBeGreaterThan(4);
      for (const [index, a] of colours.entries()) {
        for (const b of colours.slice(index + 1))
          expect(distance(a, b), `${a} ${b}`).toBeGreaterThan(70);
      }
    }
  });

  test("a name of any length stands whole beside its row", () => {
    const name = "block-768x512.gradients-to-host";
    const svg = dotPlot({
      ...{ title: "", description: "", valueLabel: "" },
      rows: [{ name, values: { measured: 1 } }],
    });
    const texts = [...svg.matchAll(/<text[^>]*>([^<]*)</g)].map(([, text]) => text ?? "");
    expect(texts.join("")).toContain(name);
    expect(svg).not.toContain("…");
  });
});

function distance(a: string, b: string): number {
  const channel = (colour: string, at: number): number =>
    Number.parseInt(colour.slice(1 + 2 * at, 3 + 2 * at), 16);
  return Math.hypot(...[0, 1, 2].map((at) => channel(a, at) - channel(b, at)));
}

interface Edges {
  readonly left: number;
  readonly right: number;
}

const MISPLACED = `(() => {
  const found = [];
  for (const svg of document.querySelectorAll("svg[viewBox]")) {
    const frame = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll("text")].map((text) => ({
      box: text.getBoundingClientRect(),
      content: text.textContent,
    }));
    for (const [index, { box, content }] of texts.entries()) {
      const isInside =
        box.left >= frame.left - 1 && box.right <= frame.right + 1 &&
        box.top >= frame.top - 1 && box.bottom <= frame.bottom + 1;
      if (!isInside) found.push("outside: " + content);
      for (const other of texts.slice(index + 1)) {
        const across = Math.min(box.right, other.box.right) - Math.max(box.left, other.box.left);
        const down = Math.min(box.bottom, other.box.bottom) - Math.max(box.top, other.box.top);
        if (across > 1 && down > 4) found.push(content + " over " + other.content);
      }
    }
  }
  return found;
})()`;

const WIDTHS = `({
  page: document.documentElement.scrollWidth,
  tables: [...document.querySelectorAll(".scroll")].map((region) => ({
    inner: region.scrollWidth,
    outer: region.clientWidth,
    focusable: region.getAttribute("tabindex"),
  })),
})`;

/** How light the middle of a picture's first and last column is: the paper, not the text. */
const LIGHT_AT_EDGES = `async (data) => {
  const image = new Image();
  image.src = "data:image/png;base64," + data;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = image.width;
  canvas.height = image.height;
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const light = (x) => {
    const column = Array.from({ length: image.height }, (_, y) => context.getImageData(x, y, 1, 1).data[0]);
    return column.sort((a, b) => a - b)[column.length >> 1];
  };
  return { left: light(1), right: light(image.width - 2) };
}`;

describe.skipIf(NO_BROWSER !== undefined)(`in a browser ${NO_BROWSER ?? ""}`, () => {
  let browser: Browser | undefined;
  let page: Page | undefined;
  beforeAll(async () => {
    browser = await openBrowser();
    page = await browser.newPage();
  }, 30_000);
  afterAll(async () => {
    await browser?.close();
  });

  async function shown(content: string, width: number): Promise<Page> {
    if (page === undefined) throw new Error("no page");
    await page.setViewportSize({ width, height: 800 });
    await page.setContent(content);
    return page;
  }

  /** Texts of pictures that leave their picture, and pairs of them that run into each other. */
  const misplaced = (target: Page): Promise<readonly string[]> =>
    target.evaluate<readonly string[]>(MISPLACED);

  test("labels of every roofline and of the scatter stand whole and apart", async () => {
    const rows = ["measurements.json", "measurements-2026-11-30.json"].flatMap((name) =>
      parseMeasuredRows(
        JSON.parse(readFileSync(new URL(`../../bench/data/${name}`, import.meta.url), "utf8")),
      ),
    );
    const pictures = [
      ...CHIPS.flatMap((chip) => [
        rooflineSvg(chip),
        ...opsOn(chip).map((ops) => rooflineSvg(chip, ops)),
      ]),
      accuracyScatter(checkAccuracy(rows)),
    ];
    const target = await shown(
      pictures.map((svg) => `<div style="width:720px">${svg}</div>`).join(""),
      760,
    );
    expect(await misplaced(target)).toEqual([]);
  });

  test.each([1280, 375])("so do those of the bench's page at %i points", async (width) => {
    const report = await predictedOf("m4");
    const target = await shown(reportPage(report), width);
    expect(await misplaced(target)).toEqual([]);
    await shown(reportPage(faster(report, 0.5)), width);
    expect(await misplaced(target)).toEqual([]);
  });

  test("on a phone the page stays in place, and tables scroll and show that they do", async () => {
    const target = await shown(reportPage(await predictedOf("m4")), 375);
    const widths = await target.evaluate<{
      readonly page: number;
      readonly tables: readonly {
        readonly inner: number;
        readonly outer: number;
        readonly focusable: string;
      }[];
    }>(WIDTHS);
    expect(widths.page).toBeLessThanOrEqual(375);
    const scrolling = widths.tables.filter(({ inner, outer }) => inner > outer + 8);
    expect(scrolling.length).toBeGreaterThan(4);
    for (const { focusable } of scrolling) expect(focusable).toBe("0");
    // The edge beyond which there is more is darker than the paper; once at the end it is not.
    const region = target.locator(".scroll").nth(1);
    await region.scrollIntoViewIfNeeded();
    const before = await region.screenshot();
    await region.evaluate((element) => element.scrollTo({ left: 10_000 }));
    const after = await region.screenshot();
    const lightAt = (image: Buffer): Promise<Edges> =>
      target.evaluate<Edges>(`(${LIGHT_AT_EDGES})("${image.toString("base64")}")`);
    const edges = [await lightAt(before), await lightAt(after)];
    const [start, end] = edges;
    expect(start?.right).toBeLessThan(200);
    expect(start?.left).toBeGreaterThan(240);
    expect(end?.right).toBeGreaterThan(240);
    expect(end?.left).toBeLessThan(200);
  });
});
