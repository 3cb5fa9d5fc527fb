import * as z from "zod";
import { didYouMean } from "../../util/nearest.ts";
import { DRIVERS } from "../chip.ts";
import type { Chip, Driver } from "../chip.ts";
import { chipByName } from "../chips.ts";
import { ChipError } from "../errors.ts";
import { passTraffic } from "./op-traffic.ts";
import type { FunctionWork, OpWork } from "./work.ts";

const count = z.number().int().positive().max(1e7);
const common = {
  chip: z.string(),
  ms: z.number().positive(),
  source: z.string().default("not stated"),
  /** Power of the engine's rail while running, where it was read. */
  ane_w: z.number().positive().optional(),
  ane_mw: z.number().positive().optional(),
  driver: z.enum(DRIVERS).optional(),
  /** Whether the time includes converting and copying inputs and outputs on the host. */
  host_copies: z.boolean().optional(),
  weights: z.enum(["constant", "runtime"]).default("constant"),
  int8: z.enum(["w8a8", "weights"]).optional(),
};

const ROWS = {
  "conv1x1-chain": z.object({
    kind: z.literal("conv1x1-chain"),
    ...common,
    depth: count,
    channels: count,
    spatial: count,
    /** Each layer streams weights of its own; the published chains share one blob. */
    own_weights: z.boolean().default(false),
  }),
  conv1x1: z.object({
    kind: z.literal("conv1x1"),
    ...common,
    cin: count,
    cout: count,
    spatial: count,
  }),
  conv: z.object({
    kind: z.literal("conv"),
    ...common,
    cin: count,
    cout: count,
    kernel: count,
    height: count,
    width: count,
    batch: count.default(1),
    depth: count.default(1),
  }),
  gemm: z.object({ kind: z.literal("gemm"), ...common, m: count, k: count, n: count }),
  gemv: z.object({
    kind: z.literal("gemv"),
    ...common,
    m: count.default(1),
    k: count,
    n: count,
  }),
  "self-attention": z.object({
    kind: z.literal("self-attention"),
    ...common,
    seq: count,
    dim: count,
    heads: count,
  }),
  op: z.object({ kind: z.literal("op"), ...common, op: z.string(), rows: count, width: count }),
} as const;

export type MeasuredRow = z.infer<(typeof ROWS)[keyof typeof ROWS]>;

/** Rows of a file of measurements. Throws `ChipError` `chip.row` naming the row and the field. */
export function parseMeasuredRows(json: unknown): readonly MeasuredRow[] {
  if (!Array.isArray(json)) {
    throw new ChipError("chip.row", "a file of measurements is a JSON array of rows");
  }
  return json.map((row: unknown, index) => parseRow(row, index));
}

function parseRow(row: unknown, index: number): MeasuredRow {
  const kind =
    typeof row === "object" && row !== null && "kind" in row ? String(row.kind) : "(none)";
  const schema = Object.hasOwn(ROWS, kind) ? ROWS[kind as keyof typeof ROWS] : undefined;
  if (schema === undefined) {
    throw new ChipError(
      "chip.row",
      `row ${index}: there is no kind "${kind}".${didYouMean(kind, Object.keys(ROWS))}`,
      { remedy: `Kinds: ${Object.keys(ROWS).join(", ")}.` },
    );
  }
  const parsed = schema.safeParse(row);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new ChipError(
      "chip.row",
      `row ${index} (${kind}): ${issue?.path.join(".") ?? ""} ${issue?.message ?? "is wrong"}`,
    );
  }
  chipByName(parsed.data.chip);
  return parsed.data;
}

/** A measured call as the model sees it. */
export interface RowCase {
  readonly row: MeasuredRow;
  readonly chip: Chip;
  readonly driver: Driver;
  readonly hostBytes: number;
  readonly work: FunctionWork;
}

export function rowCase(row: MeasuredRow): RowCase {
  const chip = chipByName(row.chip);
  const work = rowWork(row);
  const inMemory =
    row.driver === undefined
      ? row.kind.startsWith("conv1x1") || /maderix|in-memory/i.test(row.source)
      : row.driver === "in-memory";
  const copies = row.host_copies ?? !inMemory;
  return {
    row,
    chip,
    driver: inMemory ? "in-memory" : "e5rt",
    hostBytes: copies ? work.inputBytes + work.outputBytes : 0,
    work,
  };
}

export function describeRow(row: MeasuredRow): string {
  switch (row.kind) {
    case "conv1x1-chain":
      return `${row.depth} x conv1x1 ${row.channels} @ ${row.spatial}${int8Mark(row)}`;
    case "conv1x1":
      return `conv1x1 ${row.cin}->${row.cout} @ ${row.spatial}${int8Mark(row)}`;
    case "conv":
      return `${row.depth > 1 ? `${row.depth} x ` : ""}conv${row.kernel}x${row.kernel} ${row.cin}->${row.cout} @ ${row.batch}x${row.height}x${row.width}`;
    case "gemm":
    case "gemv":
      return `${row.kind} ${row.m} x ${row.k} x ${row.n}`;
    case "self-attention":
      return `self-attention S=${row.seq} D=${row.dim} H=${row.heads}`;
    case "op":
      return `${row.op} ${row.rows} x ${row.width}`;
  }
}

function int8Mark(row: MeasuredRow): string {
  return row.int8 === undefined ? "" : ` ${row.int8}`;
}

function rowWork(row: MeasuredRow): FunctionWork {
  const ops = rowOps(row);
  return { name: row.kind, ops: ops.ops, inputBytes: ops.inputs * 2, outputBytes: ops.outputs * 2 };
}

/** Elements in and out, and the ops between. */
function rowOps(row: MeasuredRow): {
  readonly ops: readonly OpWork[];
  readonly inputs: number;
  readonly outputs: number;
} {
  switch (row.kind) {
    case "conv1x1-chain": {
      const elements = row.channels * row.spatial;
      const one = product({
        kind: "pointwise",
        flops: 2 * row.channels * row.channels * row.spatial,
        positions: row.spatial,
        weights: row.own_weights ? row.channels * row.channels : 0,
        activations: 2 * elements,
        int8: row.int8,
      });
      return {
        ops: Array.from({ length: row.depth }, () => one),
        inputs: elements,
        outputs: elements,
      };
    }
    case "conv1x1":
      return {
        ops: [
          product({
            kind: "pointwise",
            flops: 2 * row.cin * row.cout * row.spatial,
            positions: row.spatial,
            weights: row.cin * row.cout,
            activations: (row.cin + row.cout) * row.spatial,
            int8: row.int8,
          }),
        ],
        inputs: row.cin * row.spatial,
        outputs: row.cout * row.spatial,
      };
    case "conv": {
      const positions = row.batch * row.height * row.width;
      const taps = row.kernel * row.kernel;
      const one = product({
        kind: taps > 1 ? "spatial" : "pointwise",
        flops: 2 * row.cin * row.cout * taps * positions,
        positions,
        weights: row.cin * row.cout * taps,
        activations: (row.cin + row.cout) * positions,
        int8: row.int8,
      });
      return {
        ops: Array.from({ length: row.depth }, () => one),
        inputs: row.cin * positions,
        outputs: row.cout * positions,
      };
    }
    case "gemm":
    case "gemv":
      return {
        ops: [
          product({
            kind: "matmul",
            flops: 2 * row.m * row.k * row.n,
            positions: row.m,
            weights: row.k * row.n,
            activations: row.m * (row.k + row.n),
            int8: row.int8,
          }),
        ],
        inputs: row.m * row.k,
        outputs: row.m * row.n,
      };
    case "self-attention":
      return attention(row.seq, row.dim, row.heads);
    case "op": {
      const elements = row.rows * row.width;
      const outputs = row.op.startsWith("reduce_") ? row.rows : elements;
      return {
        ops: [
          {
            ...NO_PRODUCT,
            name: row.op,
            op: row.op,
            trafficBytes: passTraffic(row.op, 2 * elements, 2 * outputs),
          },
        ],
        inputs: elements,
        outputs,
      };
    }
  }
}

const NO_PRODUCT = {
  productFlops: 0,
  positions: 1,
  weightBytes: 0,
  sharedOperandBytes: 0,
  int8: false,
} as const;

function product(of: {
  readonly kind: "pointwise" | "spatial" | "matmul";
  readonly flops: number;
  readonly positions: number;
  readonly weights: number;
  readonly activations: number;
  readonly int8: MeasuredRow["int8"];
  readonly fromMemory?: boolean;
}): OpWork {
  const weightBytes = of.weights * (of.int8 === undefined ? 2 : 1);
  return {
    name: of.kind,
    op: of.kind === "matmul" ? "matmul" : "conv",
    productFlops: of.flops,
    productKind: of.kind,
    positions: of.positions,
    weightBytes: of.fromMemory === false ? 0 : weightBytes,
    sharedOperandBytes: weightBytes,
    int8: of.int8 === "w8a8",
    trafficBytes: of.activations * (of.int8 === "w8a8" ? 1 : 2),
  };
}

/** Four projections with constant weights, heads split and joined, scores scaled, softmax, two products. */
function attention(seq: number, dim: number, heads: number) {
  const projection = product({
    kind: "matmul",
    flops: 2 * seq * dim * dim,
    positions: seq,
    weights: dim * dim,
    activations: 2 * seq * dim,
    int8: undefined,
  });
  const scores = heads * seq * seq;
  const mix = product({
    kind: "matmul",
    flops: 2 * seq * seq * dim,
    positions: seq,
    weights: (seq * dim) / heads,
    activations: scores + 2 * seq * dim,
    int8: undefined,
    fromMemory: false,
  });
  const traffic = (op: string, bytes: number): OpWork => ({
    ...NO_PRODUCT,
    name: op,
    op,
    trafficBytes: passTraffic(op, bytes, bytes),
  });
  const transpose = traffic("transpose", 2 * seq * dim);
  return {
    ops: [
      projection,
      projection,
      projection,
      transpose,
      transpose,
      transpose,
      mix,
      traffic("mul", 2 * scores),
      traffic("softmax", 2 * scores),
      mix,
      transpose,
      projection,
    ],
    inputs: seq * dim,
    outputs: seq * dim,
  };
}
