import { describe, expect, test } from "vitest";
import { chipByName } from "../../src/chip/chips.ts";
import { functionWork } from "../../src/chip/cost/work.ts";
import { estimateFunction } from "../../src/chip/estimate.ts";
import { checkAccuracy } from "../../src/measure/published/accuracy.ts";
import { parseMeasuredRows } from "../../src/measure/published/measured-row.ts";
import { FunctionBuilder } from "../../src/mil/builder.ts";
import { tensorLiteral } from "../../src/mil/literal.ts";
import type { Literal, MilFunction, Value } from "../../src/mil/program.ts";
import { tensorType } from "../../src/mil/types.ts";

const m6 = chipByName("m6");
const CHANNELS = 512;
const COUNT = CHANNELS * CHANNELS;
const SHAPE = [CHANNELS, CHANNELS, 1, 1] as const;

type Stored = (f: FunctionBuilder) => Value;

function constant(
  f: FunctionBuilder,
  type: string,
  inputs: Readonly<Record<string, Literal>>,
): Value {
  const operation = {
    type,
    inputs: new Map(Object.entries(inputs)),
    blocks: [],
    attributes: new Map(),
  };
  const [value] = f.append(operation, "w", [tensorType("fp16", SHAPE)]);
  if (value === undefined) throw new Error("no result");
  return value;
}

const shape = tensorLiteral("uint32", [4], SHAPE);
const dense: Stored = (f) =>
  f.constant(tensorLiteral("fp16", SHAPE, new Float64Array(COUNT).fill(0.5)), "w");
const palette =
  (bits: number): Stored =>
  (f) =>
    constant(f, "constexpr_lut_to_dense", {
      indices: tensorLiteral("uint8", [(COUNT * bits) / 8], new Uint8Array((COUNT * bits) / 8)),
      lut: tensorLiteral("fp16", [2 ** bits], new Float64Array(2 ** bits)),
      shape,
    });
const sparse =
  (share: number): Stored =>
  (f) => {
    const kept = Math.round(COUNT * (1 - share));
    // The first numbers of the tensor are those that are kept.
    const mask = Uint8Array.from({ length: COUNT / 8 }, (_, byte) => (byte * 8 < kept ? 255 : 0));
    return constant(f, "constexpr_sparse_to_dense", {
      nonzero_data: tensorLiteral("fp16", [kept], new Float64Array(kept).fill(1)),
      mask: tensorLiteral("uint8", [COUNT / 8], mask),
      shape,
    });
  };
const int8Weights: Stored = (f) =>
  constant(f, "constexpr_affine_dequantize", {
    quantized_data: tensorLiteral("int8", SHAPE, new Int8Array(COUNT)),
    zero_point: tensorLiteral("int8", [], [0]),
    scale: tensorLiteral("fp16", [], [0.01]),
    axis: tensorLiteral("int32", [], [0]),
  });

/** `depth` 1x1 convolutions of 512 channels over so many positions with one stored weight. */
function chain(stored: Stored, positions: number, depth = 24): MilFunction {
  const f = new FunctionBuilder("chain");
  let x: Value = f.input("x", tensorType("fp16", [1, CHANNELS, 1, positions]));
  const weight = stored(f);
  for (let layer = 0; layer < depth; layer++) x = f.op("conv", { x, weight });
  return f.finish({ y: x });
}

/** The same between int8 activations: dequantize, product, quantize. */
function integerChain(positions: number, depth = 24): MilFunction {
  const f = new FunctionBuilder("integers");
  let x: Value = f.input("x", tensorType("int8", [1, CHANNELS, 1, positions]));
  const weight = int8Weights(f);
  const scale = f.constant(tensorLiteral("fp16", [], [0.02]), "scale");
  for (let layer = 0; layer < depth; layer++) {
    const read = f.op("dequantize", { input: x, scale });
    const product = f.op("conv", { x: read, weight });
    x = f.op("quantize", { input: product, scale, output_dtype: "int8" });
  }
  return f.finish({ y: x });
}

/** Time of the ops alone. */
function opMs(fn: MilFunction, chip = m6): number {
  return estimateFunction(fn, chip, "e5rt").ops.reduce((sum, { ms }) => sum + ms, 0);
}

describe("weights that are stored in fewer bits", () => {
  const streamed = opMs(chain(dense, 4));
  // Of the study of M6, section 7.5: a layer bound by its weights, against fp16.
  test.each([
    ["int8", int8Weights, 0.58],
    ["palette of 4 bits", palette(4), 0.32],
    ["palette of 2 bits", palette(2), 0.16],
    ["half zero", sparse(0.5), 0.56],
    ["three quarters zero", sparse(0.75), 0.32],
    ["nine tenths zero", sparse(0.9), 0.16],
  ] as const)("a chain bound by its weights takes less as %s", (_, stored, published) => {
    const ratio = opMs(chain(stored, 4)) / streamed;
    expect(Math.abs(ratio - published)).toBeLessThan(0.1);
  });

  const computed = opMs(chain(dense, 512));
  test.each([
    ["int8", int8Weights, 1],
    ["half zero", sparse(0.5), 0.66],
    ["three quarters zero", sparse(0.75), 0.42],
    ["nine tenths zero", sparse(0.9), 0.36],
  ] as const)("and one bound by its products %s as published", (_, stored, published) => {
    const ratio = opMs(chain(stored, 512)) / computed;
    expect(Math.abs(ratio / published - 1)).toBeLessThan(0.1);
  });

  test("zeros of a dense constant save nothing", () => {
    const zeros: Stored = (f) =>
      f.constant(tensorLiteral("fp16", SHAPE, new Float64Array(COUNT)), "w");
    expect(opMs(chain(zeros, 512))).toBe(computed);
  });
});

describe("int8 weights and activations inside one program", () => {
  test("are multiplied at the int8 rate, and the ops between cost nothing", () => {
    const m4 = chipByName("m4");
    const fn = integerChain(1024);
    const work = functionWork(fn).ops;
    expect(work.filter(({ op }) => op === "conv").every(({ int8 }) => int8)).toBe(true);
    const between = work.filter(({ op }) => op.endsWith("quantize")).slice(1, -1);
    expect(between.every(({ trafficBytes }) => trafficBytes === 0)).toBe(true);
    const factor = opMs(chain(dense, 1024), m4) / opMs(fn, m4);
    expect(factor).toBeGreaterThan(1.7);
    expect(factor).toBeLessThan(2);
  });

  test("int8 weights alone keep the fp16 rate, and so do results that others read as fp16", () => {
    const f = new FunctionBuilder("mixed");
    const x = f.input("x", tensorType("int8", [1, CHANNELS, 1, 256]));
    const scale = f.constant(tensorLiteral("fp16", [], [0.02]), "scale");
    const read = f.op("dequantize", { input: x, scale });
    const product = f.op("conv", { x: read, weight: int8Weights(f) });
    const fn = f.finish({ y: f.op("add", { x: product, y: read }) });
    const work = functionWork(fn).ops;
    expect(work.find(({ op }) => op === "conv")?.int8).toBe(false);
    expect(work.find(({ op }) => op === "dequantize")?.trafficBytes).toBeGreaterThan(0);
  });
});

describe("rows of others", () => {
  const base = {
    ...{ kind: "conv1x1-chain", chip: "M6", depth: 32, channels: 2048, spatial: 32, ms: 1 },
    ...{ own_weights: true, driver: "coreml", engines: 1 },
  };
  test("may say how weights are stored, and are described so", () => {
    const [plain, four, zeros, both] = checkAccuracy(
      parseMeasuredRows([
        base,
        { ...base, palette_bits: 4 },
        { ...base, sparsity: 0.75 },
        { ...base, sparsity: 0.5, palette_bits: 4 },
      ]),
    ).rows;
    expect(four?.what).toContain("palette of 4 bits");
    expect(zeros?.what).toContain("75 % zeros");
    const ms = [plain, four, zeros, both].map((row) => row?.predictedMs ?? 0);
    expect(ms[1]).toBeLessThan((ms[0] ?? 0) * 0.45);
    expect(ms[2]).toBeLessThan((ms[0] ?? 0) * 0.45);
    expect(ms[3]).toBeLessThan(ms[1] ?? 0);
  });

  test("a palette of 9 bits and a share of zeros above 1 are refused by field", () => {
    expect(() => parseMeasuredRows([{ ...base, palette_bits: 9 }])).toThrow(/palette_bits/);
    expect(() => parseMeasuredRows([{ ...base, sparsity: 50 }])).toThrow(/sparsity/);
  });
});
