import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { chipByName } from "../../src/chip/chips.ts";
import { checkAccuracy, quantile } from "../../src/measure/published/accuracy.ts";
import { parseMeasuredRows, readMeasuredRows } from "../../src/measure/published/measured-row.ts";
import { joinRepeats } from "../../src/measure/published/repeats.ts";
import { priceCall, priceOp, pricingRates } from "../../src/chip/cost/model.ts";
import { accuracyScatter } from "../../src/measure/published/scatter.ts";
import { functionWork } from "../../src/chip/cost/work.ts";
import { estimateFunction, estimateJson, estimatePlan } from "../../src/chip/estimate.ts";
import { formatEstimate } from "../../src/chip/print.ts";
import { FunctionBuilder } from "../../src/mil/builder.ts";
import { tensorLiteral } from "../../src/mil/literal.ts";
import { tensorType } from "../../src/mil/types.ts";
import { PlanBuilder } from "../../src/plan/builder.ts";

const published = ["measurements.json", "measurements-2026-11-30.json"].flatMap((name) =>
  parseMeasuredRows(
    JSON.parse(readFileSync(new URL(`../../bench/data/${name}`, import.meta.url), "utf8")),
  ),
);

function product(rows: number, inner: number, columns: number) {
  const f = new FunctionBuilder("product");
  const x = f.input("x", tensorType("fp16", [rows, inner]));
  const w = f.input("w", tensorType("fp16", [inner, columns]));
  return f.finish({ y: f.op("matmul", { x, y: w }) });
}

describe("the cost model against published rows", () => {
  const { rows: measurements, repeats } = joinRepeats(published);

  test("half of the predictions are within 8 % and nine tenths within 25 %, by row and by measurement", () => {
    for (const [rows, count] of [
      [published, 324],
      [measurements, 319],
    ] as const) {
      const report = checkAccuracy(rows);
      expect(report.rows.length).toBe(count);
      expect(report.medianRelativeError).toBeLessThan(0.08);
      expect(report.p90RelativeError).toBeLessThan(0.25);
      expect(accuracyScatter(report)).toContain("</svg>");
    }
  });

  /** Two calls were measured twice on M3 Ultra, 70 % apart: no model brings nine tenths of its single rows within 26 %. */
  const WIDEST = { "M3 Ultra": { rows: 0.38, measurements: 0.25 } } as const;

  test.each([
    ["rows", published],
    ["measurements", measurements],
  ] as const)("so they are for every chip with five %s or more", (kind, counted) => {
    const { rows } = checkAccuracy(counted);
    for (const chip of new Set(rows.map((row) => row.chip))) {
      const errors = rows.flatMap((row) => (row.chip === chip ? [row.relativeError] : []));
      if (errors.length < 5) continue;
      expect(quantile(errors, 0.5), chip).toBeLessThan(0.08);
      expect(quantile(errors, 0.9), chip).toBeLessThan(
        chip === "M3 Ultra" ? WIDEST[chip][kind] : 0.25,
      );
    }
  });

  test("five calls were measured twice by one source", () => {
    expect(repeats.map(({ chip, ms }) => [chip, ...ms])).toEqual([
      ["M3 Ultra", 0.281, 0.497],
      ["M3 Ultra", 0.315, 0.535],
      ["M3 Ultra", 0.313, 0.355],
      ["M5", 0.3453, 0.3529],
      ["M6", 0.715, 0.7329],
    ]);
  });

  test("rows of Core ML have its floor, and engines and drivers that a row names count", () => {
    const row = { kind: "conv1x1-chain", depth: 64, channels: 512, spatial: 1024, ms: 1 };
    const [two, one, direct] = checkAccuracy(
      parseMeasuredRows([
        { ...row, chip: "M6", driver: "coreml", engines: 2 },
        { ...row, chip: "M6", driver: "coreml", engines: 1 },
        { ...row, chip: "M4", driver: "in-memory" },
      ]),
    ).rows;
    expect(two?.driver).toBe("coreml");
    expect((one?.predictedMs ?? 0) / (two?.predictedMs ?? 1)).toBeGreaterThan(1.3);
    expect(direct?.driver).toBe("in-memory");
  });

  test("bad rows are named by number, kind and field", () => {
    expect(() => parseMeasuredRows({})).toThrow(/JSON array/);
    expect(() => parseMeasuredRows([{ kind: "gem" }])).toThrow(/row 0: .*Did you mean "gemm"/);
    expect(() =>
      parseMeasuredRows([{ kind: "gemm", chip: "M4", m: -1, k: 2, n: 2, ms: 1 }]),
    ).toThrow(/row 0 \(gemm\): m/);
    expect(() =>
      parseMeasuredRows([{ kind: "gemm", chip: "X44", m: 1, k: 2, n: 2, ms: 1 }]),
    ).toThrow(/no chip "X44"/);
  });
});

describe("rows of others", () => {
  test("every kind is priced on every chip that anybody may name", () => {
    const kinds = [
      { kind: "conv1x1-chain", depth: 4, channels: 64, spatial: 64 },
      { kind: "conv1x1", cin: 64, cout: 64, spatial: 64, int8: "w8a8" },
      { kind: "conv", cin: 64, cout: 64, kernel: 3, height: 8, width: 8 },
      { kind: "gemm", m: 64, k: 64, n: 64 },
      { kind: "matmul", m: 64, k: 64, n: 64, weights: "dynamic" },
      { kind: "gemv", k: 64, n: 64 },
      { kind: "self-attention", seq: 64, dim: 64, heads: 2 },
      { kind: "attention", seq: 64, heads: 2, head_dim: 32 },
      { kind: "reduce-chain", op: "reduce_sum", shape: [1, 4, 64, 32], axis: 1, depth: 2 },
      { kind: "lora-gradient", in_dim: 64, out_dim: 64, rank: 8, seq: 32, programs: 4 },
      { kind: "attention-block", heads: 8, kv_heads: 2, queries: 16, keys: 64, head_dim: 32 },
      { kind: "op", op: "nobody_knows", rows: 8, width: 64 },
      { kind: "softmax", rows: 8, width: 64 },
      { kind: "dispatch" },
      { kind: "ffn", dim: 64, hidden: 128, spatial: 64 },
      { kind: "stream", megabytes: 10 },
      { kind: "decode", layers: 2, dim: 64, hidden: 128, heads: 4, calls: 3 },
      { kind: "training-step" },
      { kind: "training-step", pipeline: "static", model: "qwen3-0.6b" },
      { kind: "training-step", pipeline: "forwards", model: "smollm2-360m" },
    ];
    const chips = [
      ...["M1 Pro", "M2 Ultra", "M3 Max", "M4 Pro", "M5 Max", "A17 Pro", "m6", "Apple M4 Max"],
      ...["Mac mini M4, 16 GB", "M4 Ultra", "M6 Pro", "M7 Max", "A19"],
    ];
    const given = chips.flatMap((chip) => kinds.map((row) => ({ ...row, chip, ms: 1 })));
    const { rows, unpriced } = readMeasuredRows(given);
    expect(unpriced).toEqual([]);
    for (const { predictedMs } of checkAccuracy(rows).rows) {
      expect(predictedMs).toBeGreaterThan(0);
      expect(predictedMs).toBeLessThan(1e4);
    }
  });

  test("what cannot be priced is told beside the rest", () => {
    const good = { kind: "gemm", chip: "M4", m: 8, k: 8, n: 8, ms: 1 };
    const strange = [
      { kind: "dream", chip: "M4", ms: 1 },
      { ...good, chip: "Snapdragon" },
      5,
      null,
    ];
    const { rows, unpriced } = readMeasuredRows([good, ...strange, { ...good, ms: 0 }]);
    expect(rows.length).toBe(1);
    expect(unpriced.map(({ row }) => row)).toEqual([1, 2, 3, 4, 5]);
    expect(unpriced[0]?.reason).toMatch(/no kind "dream"/);
    expect(() => readMeasuredRows({})).toThrow(/JSON array/);
  });
});

describe("prices", () => {
  test("more work never costs less", () => {
    const rates = pricingRates(chipByName("m4"), "e5rt");
    let last = 0;
    for (const size of [64, 128, 256, 512, 1024, 2048]) {
      const { ms } = priceCall(functionWork(product(size, size, size)), rates);
      expect(ms).toBeGreaterThan(last);
      last = ms;
    }
  });

  test("weights of 2 MiB a core hit the notch of M4 and not of M5", () => {
    const [op] = functionWork(product(64, 4096, 4096)).ops;
    const [near] = functionWork(product(64, 4096, 3968)).ops;
    if (op === undefined || near === undefined) throw new Error("no op");
    const m4 = pricingRates(chipByName("m4"), "e5rt");
    const m5 = pricingRates(chipByName("m5"), "e5rt");
    expect(priceOp(op, m4).streamMs / priceOp(near, m4).streamMs).toBeGreaterThan(1.4);
    expect(priceOp(op, m5).streamMs / priceOp(near, m5).streamMs).toBeLessThan(1.1);
  });

  test("a small product is bound by dispatch, a thin one by streaming, a large one by compute", () => {
    const m4 = chipByName("m4");
    expect(estimateFunction(product(64, 64, 64), m4, "e5rt").boundBy).toBe("dispatch");
    expect(estimateFunction(product(1, 4096, 11008), m4, "e5rt").boundBy).toBe("streaming");
    expect(estimateFunction(product(2048, 2048, 2048), m4, "e5rt").boundBy).toBe("compute");
  });

  test("an estimate's parts add up and its JSON has the documented fields", () => {
    const estimate = estimateFunction(product(512, 512, 512), chipByName("m4"), "in-memory");
    const { dispatch, compute, streaming, host } = estimate.breakdown;
    expect(dispatch + compute + streaming + host).toBeCloseTo(estimate.ms, 9);
    expect(estimateJson(estimate)).toMatchObject({
      ms: estimate.ms,
      joules: estimate.joules,
      bound_by: estimate.boundBy,
      ops: [{ op: "matmul", bound_by: expect.any(String) }],
    });
    expect(formatEstimate(estimate)).toContain("on M4 through in-memory");
  });

  test("compressed constants stream their stored bytes only", () => {
    const f = new FunctionBuilder("dequantized");
    const x = f.input("x", tensorType("fp16", [64, 256]));
    const w = f.append(
      {
        type: "constexpr_affine_dequantize",
        inputs: new Map([
          ["quantized_data", tensorLiteral("int8", [256, 256], new Int8Array(65536))],
          ["scale", tensorLiteral("fp16", [], [1])],
        ]),
        blocks: [],
        attributes: new Map(),
      },
      "w",
      [tensorType("fp16", [256, 256])],
    )[0];
    if (w === undefined) throw new Error("no result");
    const work = functionWork(f.finish({ y: f.op("matmul", { x, y: w }) }));
    expect(work.ops.find(({ op }) => op === "matmul")?.weightBytes).toBe(65536 + 2);
  });

  test("an unknown size is asked for instead of priced", () => {
    const f = new FunctionBuilder("open");
    const x = f.input("x", tensorType("fp16", ["?", 4]));
    const fn = f.finish({ y: f.op("add", { x, y: 1 }) });
    expect(() => estimateFunction(fn, chipByName("m4"), "e5rt")).toThrow(/unknown size/);
  });
});

describe("plans", () => {
  test("a plan is priced by section, with host work on the host", () => {
    const b = new PlanBuilder("two");
    b.program("product", product(256, 256, 256));
    const g = new FunctionBuilder("lookup");
    const ids = g.input("ids", tensorType("int32", [256]));
    const table = g.input("table", tensorType("fp16", [1000, 256]));
    b.program("lookup", g.finish({ rows: g.op("gather", { x: table, indices: ids, axis: 0 }) }));
    b.buffer("ids", tensorType("int32", [256]), "input");
    b.buffer("table", tensorType("fp16", [1000, 256]), "weight");
    b.buffer("x", tensorType("fp16", [256, 256]), "activation");
    b.buffer("w", tensorType("fp16", [256, 256]), "weight");
    b.buffer("y", tensorType("fp16", [256, 256]), "output");
    b.dispatch("step", "look up", "lookup", { ids: "ids", table: "table" }, { rows: "x" });
    b.dispatch("step", "multiply", "product", { x: "x", w: "w" }, { y: "y" });
    const plan = b.finish();
    const estimate = estimatePlan(plan, chipByName("m4"), "e5rt", { runs: { step: 3 } });
    expect(estimate.sections).toEqual([
      { section: "step", runs: 3, ms: expect.closeTo(estimate.ms, 9) },
    ]);
    expect(estimate.onHost.map(({ program }) => program)).toEqual(["lookup"]);
    expect(estimate.breakdown.host).toBeGreaterThan(0);
    expect(estimate.breakdown.dispatch).toBeCloseTo(3 * 0.09, 9);
    expect(() => estimatePlan(plan, chipByName("m4"), "e5rt", { runs: { stap: 1 } })).toThrow(
      /Did you mean "step"/,
    );
  });
});
