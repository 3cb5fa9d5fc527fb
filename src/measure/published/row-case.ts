import type { Chip } from "../../chip/chip.ts";
import type { Harness } from "../../chip/cost/model.ts";
import { chipByName, nearestChip } from "../../chip/chips.ts";
import type { MeasuredRow } from "./measured-row.ts";
import type { FunctionWork, OpWork } from "../../chip/cost/work.ts";
import { matrixWork, movingWork, passWork, productWork } from "./op-work.ts";
import type { Storage } from "./op-work.ts";

/** A measured call as the model sees it. */
export interface RowCase {
  readonly row: MeasuredRow;
  readonly chip: Chip;
  readonly driver: Harness;
  readonly hostBytes: number;
  readonly edgeBytes: number;
  readonly work: FunctionWork;
}

/** What the published harness measures with host arrays in and out. */
const COPYING_KINDS: ReadonlySet<string> = new Set([
  "conv",
  "gemm",
  "gemv",
  "self-attention",
  "attention",
  "op",
]);

export function rowCase(row: MeasuredRow): RowCase {
  const chip = nearestChip(row.chip) ?? chipByName(row.chip);
  const work = rowWork(row);
  const inMemory =
    row.driver === undefined
      ? row.kind.startsWith("conv1x1") ||
        row.kind === "training-step" ||
        /maderix|in-memory/i.test(row.source)
      : row.driver === "in-memory";
  const isForeign = row.driver === "coreml" || row.driver === "coreai";
  const copies =
    row.host_copies ??
    (row.kind === "lora-gradient" || (!inMemory && !isForeign && COPYING_KINDS.has(row.kind)));
  const outside = work.inputBytes + work.outputBytes;
  return {
    row,
    chip,
    driver: isForeign && row.driver !== undefined ? row.driver : inMemory ? "in-memory" : "e5rt",
    hostBytes: copies ? outside : 0,
    edgeBytes: copies ? 0 : outside,
    work,
  };
}

export function describeRow(row: MeasuredRow): string {
  switch (row.kind) {
    case "conv1x1-chain":
      return `${row.depth} x conv1x1 ${row.channels} @ ${row.spatial}${storageMark(row)}`;
    case "conv1x1":
      return `conv1x1 ${row.cin}->${row.cout} @ ${row.spatial}${storageMark(row)}`;
    case "conv":
      return `${row.depth > 1 ? `${row.depth} x ` : ""}conv${row.kernel}x${row.kernel} ${row.cin}->${row.cout} @ ${row.batch}x${row.height}x${row.width}${storageMark(row)}`;
    case "gemm":
    case "gemv":
      return `${row.kind} ${row.m} x ${row.k} x ${row.n}`;
    case "self-attention":
      return `self-attention S=${row.seq} D=${row.dim} H=${row.heads}`;
    case "op":
      return `${(row.depth ?? 1) > 1 ? `${row.depth} x ` : ""}${row.op} ${row.rows} x ${row.width}`;
    case "dispatch":
      return "a call that does nothing";
    case "attention":
      return `attention H=${row.heads} S=${row.seq} D=${row.head_dim}`;
    case "ffn":
      return `${row.depth > 1 ? `${row.depth} x ` : ""}ffn ${row.dim}->${row.hidden} @ ${row.spatial}`;
    case "stream":
      return `${row.megabytes} MB of weights`;
    case "decode":
      return `token of ${row.layers} layers x ${row.dim}`;
    case "reduce-chain":
      return `${row.depth} x ${row.op} of [${row.shape.join(", ")}] over ${row.axis}`;
    case "lora-gradient":
      return `gradients of rank ${row.rank}, ${row.in_dim} -> ${row.out_dim} @ ${row.seq}${row.programs > 1 ? `, ${row.programs} programs` : ""}`;
    case "attention-block":
      return `attention ${row.queries} x ${row.keys}, ${row.heads} heads`;
    case "training-step":
      return row.pipeline === "forwards"
        ? `training step ${row.model}, two forwards`
        : `training step ${row.model}, ${row.pipeline}`;
  }
}

/** What of its weights is not plain fp16. */
function storageMark(row: MeasuredRow): string {
  const { int8, palette_bits: bits, sparsity } = row;
  const marks = [
    ...(int8 === undefined ? [] : [int8]),
    ...(bits === undefined ? [] : [`palette of ${bits} bits`]),
    ...(sparsity === undefined ? [] : [`${Math.round(sparsity * 100)} % zeros`]),
  ];
  return marks.map((mark) => ` ${mark}`).join("");
}

function rowWork(row: MeasuredRow): FunctionWork {
  const { ops: list, ...ops } = rowOps(row);
  const isSplit = row.engines === undefined ? undefined : row.engines > 1;
  const all = isSplit === undefined ? list : list.map((op) => ({ ...op, isSplit }));
  return { name: row.kind, ops: all, inputBytes: ops.inputs * 2, outputBytes: ops.outputs * 2 };
}

/** The ops of a call, and its elements in and out. */
interface RowOps {
  readonly ops: readonly OpWork[];
  readonly inputs: number;
  readonly outputs: number;
}

/** The same ops one after the other. */
function repeated(depth: number, ...ops: readonly OpWork[]): readonly OpWork[] {
  return Array.from({ length: depth }, () => ops).flat();
}

function rowOps(row: MeasuredRow): RowOps {
  const storage = storageOf(row);
  switch (row.kind) {
    case "conv1x1-chain": {
      const elements = row.channels * row.spatial;
      const matrix = row.channels * row.channels;
      // A shared weight stays on chip up to 64 KiB a core.
      const isRead = row.own_weights || matrix * storage.weightBytes > RESIDENT_BYTES;
      const one = matrixWork("pointwise", [row.spatial, row.channels, row.channels], { storage });
      const resident = { ...one, weightBytes: 0, sharedOperandBytes: 0 };
      const ops = repeated(row.depth, isRead ? one : resident);
      return { ops, inputs: elements, outputs: elements };
    }
    case "conv1x1":
      return matrixOps("pointwise", [row.spatial, row.cin, row.cout], storage);
    case "conv": {
      const positions = row.batch * row.height * row.width;
      const taps = row.kernel * row.kernel;
      const one = productWork({
        kind: row.kernel === 3 ? "spatial" : "pointwise",
        flops: 2 * row.cin * row.cout * taps * positions,
        positions,
        weights: row.cin * row.cout * taps,
        activations: (row.cin + row.cout) * positions,
        storage,
      });
      const ops = repeated(row.depth, one);
      return { ops, inputs: row.cin * positions, outputs: row.cout * positions };
    }
    case "gemm":
    case "gemv":
      return matrixOps("matmul", [row.m, row.k, row.n], storage);
    case "self-attention":
      return attention(row.seq, row.dim, row.heads);
    case "op": {
      const inputs = row.rows * row.width;
      const outputs = row.op.startsWith("reduce_") ? row.rows : inputs;
      const ops = repeated(row.depth ?? 1, passWork(row.op, inputs, outputs));
      return { ops, inputs, outputs };
    }
    case "dispatch":
    case "training-step":
      return { ops: [], inputs: 0, outputs: 0 };
    case "attention": {
      const width = row.heads * row.head_dim;
      const { core } = attention(row.seq, width, row.heads);
      return { ops: core, inputs: 3 * row.seq * width, outputs: row.seq * width };
    }
    case "ffn": {
      const elements = row.dim * row.spatial;
      const layer = gatedLayer(row.dim, row.hidden, row.spatial, storage);
      return { ops: repeated(row.depth, ...layer), inputs: elements, outputs: elements };
    }
    case "stream": {
      const weights = (row.megabytes * 1e6) / 2;
      const sizes = { flops: 2 * weights, positions: 1, weights, activations: 0 };
      const one = productWork({ kind: "matmul", ...sizes, storage });
      // A whole model is streamed matrix by matrix: none of them is large enough to be waited for.
      return { ops: [{ ...one, sharedOperandBytes: 0 }], inputs: 0, outputs: 0 };
    }
    case "reduce-chain": {
      const elements = row.shape.reduce((total, size) => total * size, 1);
      const size = row.shape.at(row.axis) ?? 1;
      const results = elements / size;
      const isInner = row.axis === -1 || row.axis >= row.shape.length - 2;
      // Over an outer axis every result is gathered from far apart.
      const passes = isInner ? INNER_REDUCTION_PASSES : OUTER_REDUCTION_PASSES;
      const reduction = movingWork(row.op, 2 * elements * passes + 2 * results);
      const addition = movingWork("add", 2 * (2 * elements + results));
      const ops = repeated(row.depth, reduction, addition);
      return { ops, inputs: elements, outputs: elements };
    }
    case "lora-gradient":
      return adapterGradient(row);
    case "attention-block": {
      const scores = row.heads * row.queries * row.keys;
      const shared = (row.kv_heads ?? row.heads) * row.keys * row.head_dim;
      const queries = row.heads * row.queries * row.head_dim;
      const mix = productWork({
        kind: "matmul",
        flops: 2 * scores * row.head_dim,
        positions: row.queries,
        weights: shared / (row.kv_heads ?? row.heads),
        activations: scores + shared + queries,
        fromMemory: false,
      });
      const ops = [mix, passWork("softmax", scores, scores), mix];
      return { ops, inputs: queries + 2 * shared, outputs: queries };
    }
    case "decode":
      return { ops: tokenOps(row), inputs: row.dim, outputs: row.vocab };
  }
}

/** One product alone, [rows, inner] by [inner, outer]. */
function matrixOps(
  kind: "pointwise" | "matmul",
  sizes: readonly [number, number, number],
  storage: Storage,
): RowOps {
  const [rows, inner, outer] = sizes;
  const ops = [matrixWork(kind, sizes, { storage })];
  return { ops, inputs: rows * inner, outputs: rows * outer };
}

/** The last axis of a surface is a multiple of this on the machine that the rows are of. */
const ROW_MULTIPLE = 16;
/** Copies of packed operands inside the program: slice, reshape, transpose, reshape. */
const UNPACK_PASSES = 4;

/**
 * Gradients of both factors: four products whose operands come packed in one surface [1, C, 1, 2 S + 2 R], C the larger
 * dimension, and are unpacked in the program (jmanhype/ane-lora-training). The harness packs them anew each call.
 */
function adapterGradient(row: Extract<MeasuredRow, { kind: "lora-gradient" }>): RowOps {
  const { in_dim: inner, out_dim: outer } = row;
  const whole = (size: number): number => Math.ceil(size / ROW_MULTIPLE) * ROW_MULTIPLE;
  const [rank, positions] = [whole(row.rank), whole(row.seq)];
  const inputs = Math.max(inner, outer) * 2 * (positions + rank);
  const outputs = rank * (inner + outer);
  const unpacking = movingWork("transpose", UNPACK_PASSES * 2 * 2 * (inputs + outputs));
  const products = (
    [
      [rank, outer, positions],
      [rank, inner, positions],
      [inner, positions, rank],
      [rank, positions, outer],
    ] as const
  ).map((sizes) => matrixWork("matmul", sizes, { fromMemory: false }));
  return { ops: [unpacking, ...products], inputs, outputs };
}

/** What of a constant weight stays on chip from one use to the next: 64 KiB in each of 16 cores. */
const RESIDENT_BYTES = 2 ** 20;

function storageOf(row: MeasuredRow): Storage {
  const number =
    row.palette_bits === undefined ? (row.int8 === undefined ? 2 : 1) : row.palette_bits / 8;
  const { sparsity } = row;
  const density = 1 - (sparsity ?? 0);
  return {
    weightBytes: sparsity === undefined ? number : number * density + 1 / 8,
    density,
    isInt8: row.int8 === "w8a8",
  };
}

function gatedLayer(
  dim: number,
  hidden: number,
  positions: number,
  storage: Storage,
): readonly OpWork[] {
  const matrix = (inner: number, outer: number): OpWork =>
    matrixWork("pointwise", [positions, inner, outer], { storage });
  const between = (op: string, operands: number): OpWork =>
    passWork(op, operands * hidden * positions, hidden * positions);
  const up = matrix(dim, hidden);
  return [up, up, between("silu", 1), between("mul", 2), matrix(hidden, dim)];
}

/** A token: every matrix of every layer over one position, the cache read, the head. */
function tokenOps(row: Extract<MeasuredRow, { kind: "decode" }>): readonly OpWork[] {
  const headDim = row.head_dim ?? row.dim / row.heads;
  const queries = row.heads * headDim;
  const keys = (row.kv_heads ?? row.heads) * headDim;
  const storage = storageOf(row);
  const matrix = (inner: number, outer: number): OpWork =>
    matrixWork("matmul", [1, inner, outer], { storage });
  const layer = [
    matrix(row.dim, queries),
    matrix(row.dim, keys),
    matrix(row.dim, keys),
    movingWork("matmul", 4 * keys * row.context),
    matrix(queries, row.dim),
    matrix(row.dim, row.hidden),
    matrix(row.dim, row.hidden),
    matrix(row.hidden, row.dim),
  ];
  const head = row.vocab > 0 ? [matrix(row.dim, row.vocab)] : [];
  return [...repeated(row.layers, ...layer), ...head];
}

/** Fitted to one pair of rows, M5 Max: 1.69 ms over axis 1 against 0.355 over axis 2. */
const OUTER_REDUCTION_PASSES = 43;
const INNER_REDUCTION_PASSES = 5;

/** Four projections with constant weights, heads split and joined, scores scaled, softmax, two products. */
function attention(seq: number, dim: number, heads: number) {
  const projection = matrixWork("matmul", [seq, dim, dim]);
  const scores = heads * seq * seq;
  const mix = productWork({
    kind: "matmul",
    flops: 2 * seq * seq * dim,
    positions: seq,
    weights: (seq * dim) / heads,
    activations: scores + 2 * seq * dim,
    fromMemory: false,
  });
  const elements = seq * dim;
  const transpose = passWork("transpose", elements, elements);
  const core = [mix, passWork("mul", scores, scores), passWork("softmax", scores, scores), mix];
  const before = [...repeated(3, projection), ...repeated(3, transpose)];
  const ops = [...before, ...core, transpose, projection];
  return { core, ops, inputs: elements, outputs: elements };
}
