import type { MeasuredRow } from "../published/measured-row.ts";
import { describeRow, rowCase } from "../published/row-case.ts";
import { SUITE_NAMES } from "./case.ts";
import type { BenchCase, RowShape, SuiteName } from "./case.ts";
import { rowPlan } from "./case-plan.ts";
import { MODEL_CASES } from "./model-plans.ts";

type Int8 = "w8a8" | "weights";

const chain = (
  depth: number,
  channels: number,
  spatial: number,
  int8?: Int8,
  ownWeights = false,
): RowShape => ({
  kind: "conv1x1-chain",
  depth,
  channels,
  spatial,
  weights: "constant",
  own_weights: ownWeights,
  ...(int8 !== undefined && { int8 }),
});
const pointwise = (cin: number, cout: number, spatial: number): RowShape => ({
  kind: "conv1x1",
  cin,
  cout,
  spatial,
  weights: "constant",
});
const gemm = (m: number, k: number, n: number): RowShape => ({
  kind: "gemm",
  m,
  k,
  n,
  weights: "constant",
});
const gemv = (k: number, n: number): RowShape => ({
  kind: "gemv",
  m: 1,
  k,
  n,
  weights: "constant",
});
const conv3 = (channels: number, side: number, batch: number, depth = 1): RowShape => ({
  kind: "conv",
  cin: channels,
  cout: channels,
  kernel: 3,
  height: side,
  width: side,
  batch,
  depth,
  weights: "constant",
});
const op = (name: string, rows: number, width: number): RowShape => ({
  kind: "op",
  op: name,
  rows,
  width,
  weights: "constant",
});
const attention = (seq: number): RowShape => ({
  kind: "self-attention",
  seq,
  dim: 768,
  heads: 12,
  weights: "constant",
});

/** One line of the tables below. */
interface Line {
  readonly shape: RowShape;
  readonly isQuick?: boolean;
  /** Default false: buffers are shared with the engine. */
  readonly hostCopies?: boolean;
  readonly group?: string;
  readonly dispatches?: number;
  readonly calls?: "one" | "each";
  readonly title?: string;
}

const PEAK: readonly Line[] = [
  ...[256, 384, 512].flatMap((channels) =>
    [32, 48, 64, 128].map((depth) => ({
      shape: chain(depth, channels, 64),
      isQuick: channels === 512 && depth !== 48,
    })),
  ),
  { shape: chain(64, 512, 64, undefined, true) },
  { shape: chain(128, 512, 2048) },
  { shape: chain(128, 512, 4096), isQuick: true },
];

const WEIGHTS: readonly Line[] = [
  256, 512, 1024, 2048, 3072, 3584, 4096, 4224, 5120, 6144, 8192,
].map((channels) => ({
  shape: pointwise(channels, channels, 64),
  isQuick: [256, 1024, 2048, 3072, 4096, 5120].includes(channels),
}));

const MATMUL: readonly Line[] = [256, 512, 1024, 2048, 3072, 4096, 6144].flatMap((size) =>
  [gemm(size, size, size), pointwise(size, size, size)].map((shape) => ({
    shape,
    isQuick: [512, 1024, 2048].includes(size),
    group: `square ${size}`,
  })),
);
/** The same products with the conversion and the copies that the published times include. */
const MATMUL_WITH_COPIES: readonly Line[] = [
  ...[512, 1024, 2048, 4096, 6144, 8192].map((size) => gemm(size, size, size)),
  gemm(64, 256, 256),
  gemm(128, 1024, 1024),
  gemm(256, 4096, 4096),
].map(withCopies);

/** Buffers are the host's, converted and copied in each call. */
function withCopies(shape: RowShape): Line {
  return { shape, hostCopies: true };
}

const INT8: readonly Line[] = [64, 128].flatMap((depth) =>
  ([undefined, "weights", "w8a8"] as const).map((int8) => ({
    shape: chain(depth, 512, 4096, int8),
    isQuick: depth === 64,
    group: `int8 chain ${depth}`,
  })),
);

const CALLS = 32;
const SMALLEST = op("relu", 1, 64);
const MANY = { shape: SMALLEST, isQuick: true, dispatches: CALLS, group: "stream or calls" };
const LATENCY: readonly Line[] = [
  { shape: SMALLEST, isQuick: true, title: "the smallest program: relu of 64 numbers" },
  { ...MANY, title: `${CALLS} dispatches of it in one call` },
  { ...MANY, calls: "each", title: `${CALLS} dispatches of it in ${CALLS} calls` },
  { shape: chain(1, 512, 1024), isQuick: true, group: "one op or 64" },
  { shape: chain(64, 512, 1024), isQuick: true, group: "one op or 64" },
];

const GEMV: readonly Line[] = [
  ...[512, 1024, 2048, 4096, 6144, 8192].map((size) => ({
    ...withCopies(gemv(size, size)),
    isQuick: size <= 4096,
  })),
  ...[gemv(8192, 2048), gemv(2048, 8192), gemv(4096, 11008)].map(withCopies),
];

const CONV: readonly Line[] = [
  ...[
    conv3(64, 64, 8),
    conv3(128, 64, 8),
    conv3(256, 64, 4),
    conv3(512, 64, 2),
    conv3(64, 64, 16),
    conv3(128, 64, 16),
    conv3(256, 64, 8),
    conv3(512, 64, 4),
  ].map(withCopies),
  { ...withCopies(conv3(64, 32, 1)), isQuick: true },
  { ...withCopies(conv3(256, 32, 1, 16)), isQuick: true },
];

const NORMS = ["relu", "gelu", "sigmoid", "softmax", "layer_norm", "rms_norm", "l2_norm"] as const;
const OPS: readonly Line[] = [
  ...NORMS.map((name) => ({ ...withCopies(op(name, 256, 1024)), isQuick: true })),
  ...[
    ...NORMS.filter((name) => name !== "l2_norm").map((name) => op(name, 64, 256)),
    ...[64, 256, 1024, 2048, 4096, 8192, 16384].map((rows) => op("relu", rows, 4096)),
    ...["gelu", "softmax", "reduce_sum"].flatMap((name) =>
      [256, 512, 2048, 8192].map((rows) => op(name, rows, 4096)),
    ),
  ].map(withCopies),
];

const LINES: Readonly<Record<SuiteName, readonly Line[]>> = {
  peak: PEAK,
  weights: WEIGHTS,
  matmul: [...MATMUL, ...MATMUL_WITH_COPIES],
  int8: INT8,
  latency: LATENCY,
  layer: [197, 512].map((seq) => withCopies(attention(seq))),
  gemv: GEMV,
  conv: CONV,
  ops: OPS,
};

/** Every case there is, suite by suite in the order of `SUITES`. */
export function allCases(): readonly BenchCase[] {
  return SUITE_NAMES.flatMap((name) => [
    ...LINES[name].map((line) => caseOf(name, line)),
    ...MODEL_CASES.filter(({ suite }) => suite === name),
  ]);
}

function caseOf(suite: SuiteName, line: Line): BenchCase {
  const { shape, hostCopies = false, dispatches = 1, calls = "one" } = line;
  const what = shapeTitle(shape);
  const isOwn = "own_weights" in shape && shape.own_weights;
  const marks = [
    isOwn ? "own weights" : "",
    hostCopies ? "with copies" : "",
    dispatches > 1 ? `${dispatches} ${calls === "one" ? "in one call" : "calls"}` : "",
  ].filter((mark) => mark !== "");
  const id = [suite, shapeId(shape), ...marks.map((mark) => mark.replaceAll(" ", "-"))].join(".");
  const { work } = rowCase(asRow(shape));
  let flops = 0;
  for (const { productFlops } of work.ops) flops += productFlops;
  const weightBytes = weightBytesOf(shape);
  return {
    id,
    suite,
    title: line.title ?? [what, ...marks].join(", "),
    shape,
    hostCopies,
    dispatches,
    calls,
    flops: flops * dispatches,
    weightBytes,
    group: line.group ?? id,
    isQuick: line.isQuick ?? false,
    // Numbers as fp32, their fp16 copy, the weight file in memory, and what the runtime keeps.
    memoryBytes: 6 * weightBytes + 6 * (work.inputBytes + work.outputBytes),
    build: (options) => rowPlan(id, shape, { hostCopies, dispatches, calls }, options),
  };
}

/** A shape as a row with a time that means nothing: what pricing and describing need. */
export function asRow(shape: RowShape, chip = "m4", source = "not measured"): MeasuredRow {
  return { ...shape, chip, source, ms: 1 };
}

/** The shape's name as the tables of published rows have it. */
export function shapeTitle(shape: RowShape): string {
  return describeRow(asRow(shape));
}

function shapeId(shape: RowShape): string {
  return shapeTitle(shape)
    .replaceAll(" x conv", "x-conv")
    .replaceAll(" x ", "x")
    .replaceAll(" @ ", "@")
    .replaceAll("->", "-")
    .replaceAll(" ", "-");
}

/** Bytes of constants as fp16 or int8; a shared matrix counts once. */
function weightBytesOf(shape: RowShape): number {
  const bytes = "int8" in shape && shape.int8 !== undefined ? 1 : 2;
  switch (shape.kind) {
    case "conv1x1-chain":
      return bytes * shape.channels ** 2 * (shape.own_weights ? shape.depth : 1);
    case "conv1x1":
      return bytes * shape.cin * shape.cout;
    case "conv":
      return bytes * shape.cin * shape.cout * shape.kernel ** 2 * shape.depth;
    case "gemm":
    case "gemv":
      return bytes * shape.k * shape.n;
    case "self-attention":
      return bytes * 4 * shape.dim ** 2;
    case "op":
      return 0;
  }
}
