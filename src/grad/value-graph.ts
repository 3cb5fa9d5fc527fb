import type { OpKind, OpRow } from "../mil/op-row.ts";
import { flopsOf, opRow } from "../mil/ops/index.ts";
import type { MilFunction, Operation, Value } from "../mil/program.ts";
import { isPure, makersOf, valuesReadBy } from "../mil/traverse.ts";
import { byteLengthOf, elementCount } from "../mil/types.ts";
import { shapeOf } from "./emit.ts";
import { GradError } from "./errors.ts";
import { valuesNeeded } from "./partition.ts";
import type { ReverseSweep } from "./reverse.ts";

/** An op of the function as the choice of taps sees it. */
export interface GraphOperation {
  readonly operation: Operation;
  readonly reads: readonly Value[];
  /** Nothing for an op that must not run twice. */
  readonly row: OpRow | undefined;
  readonly flops: number;
  /**
   * Time of running it again in units of one operation: its flops, and one for every number read and
   * written. Infinite for an op that must not run twice.
   */
  readonly price: number;
}

/** The part of a function that its backward function needs, with what keeping and recomputing cost. */
export interface ValueGraph {
  /** Values the backward function's own ops read. */
  readonly needed: ReadonlySet<Value>;
  /** Every op a needed value depends on, in order. */
  readonly operations: readonly GraphOperation[];
  readonly makers: ReadonlyMap<Value, GraphOperation>;
  /** Inputs whose bytes count, because they are held for the backward function alone. */
  readonly countedInputs: ReadonlySet<Value>;
  readonly bytesOf: (value: Value) => number;
  /** Whether a value may be a tap: constants, and what is computed from constants alone, may not. */
  readonly mayKeep: (value: Value) => boolean;
}

/** A costly op's result is worth this many operations a number at least, however little its flop count says. */
const COSTLY_OPERATIONS_PER_NUMBER = 64;

export function valueGraph(
  fn: MilFunction,
  sweep: ReverseSweep,
  countedInputs: readonly string[],
): ValueGraph {
  const needed = valuesNeeded(fn, sweep);
  const makerOperations = makersOf(fn);
  const reached = new Set<Operation>();
  const stack = [...needed];
  for (let value = stack.pop(); value !== undefined; value = stack.pop()) {
    const maker = makerOperations.get(value);
    if (maker === undefined || value.constant !== undefined || reached.has(maker)) continue;
    reached.add(maker);
    stack.push(...valuesReadBy(maker));
  }
  const operations = fn.operations
    .filter((operation) => reached.has(operation))
    .map(graphOperation);
  const makers = new Map<Value, GraphOperation>();
  for (const made of operations)
    for (const output of made.operation.outputs) makers.set(output, made);

  const variable = new Set<Value>(fn.inputs);
  const fixed = new Set<Value>();
  for (const { operation, reads, price } of operations) {
    const isFixed = price !== Infinity && !reads.some((value) => variable.has(value));
    for (const output of operation.outputs) (isFixed ? fixed : variable).add(output);
  }
  return {
    needed,
    operations,
    makers,
    countedInputs: new Set(fn.inputs.filter(({ name }) => countedInputs.includes(name))),
    bytesOf,
    mayKeep: (value) => makers.has(value) && value.type.kind === "tensor" && !fixed.has(value),
  };
}

export function bytesOf(value: Value): number {
  shapeOf(value);
  return value.type.kind === "tensor" ? byteLengthOf(value.type) : 0;
}

function graphOperation(operation: Operation): GraphOperation {
  const reads = [...new Set(valuesReadBy(operation))];
  const row = opRow(operation.type);
  if (row === undefined || !isPure(operation)) {
    return { operation, reads, row: undefined, flops: 0, price: Infinity };
  }
  const written = operation.outputs.reduce((sum, output) => sum + elementCount(shapeOf(output)), 0);
  const read = reads.reduce(
    (sum, value) => sum + (value.type.kind === "tensor" ? elementCount(shapeOf(value)) : 0),
    0,
  );
  const flops = flopsOf(operation);
  return { operation, reads, row, flops, price: priceOf(row.kind, flops, read, written) };
}

function priceOf(kind: OpKind, flops: number, read: number, written: number): number {
  switch (kind) {
    case "view":
      return 0;
    case "movement":
      return flops + 2 * written;
    case "elementwise":
      return flops + read + written;
    case "costly":
      return Math.max(flops + read + written, COSTLY_OPERATIONS_PER_NUMBER * written);
  }
}

/** What a choice of taps amounts to. */
export interface TapPlan {
  /** The kept values that are used: the taps. */
  readonly kept: ReadonlySet<Value>;
  readonly recomputed: ReadonlySet<GraphOperation>;
  /** Of the taps and of the inputs that count. */
  readonly byteLength: number;
  readonly price: number;
}

/** Follows a choice through: what is read of it, what is computed anew, and the cost of both. */
export function planOf(graph: ValueGraph, choice: ReadonlySet<Value>): TapPlan {
  const kept = new Set<Value>();
  const recomputed = new Set<GraphOperation>();
  const seen = new Set<Value>();
  const stack = [...graph.needed];
  let byteLength = 0;
  let price = 0;
  for (let value = stack.pop(); value !== undefined; value = stack.pop()) {
    if (seen.has(value)) continue;
    seen.add(value);
    const maker = graph.makers.get(value);
    if (maker === undefined) {
      if (graph.countedInputs.has(value)) byteLength += graph.bytesOf(value);
    } else if (choice.has(value)) {
      kept.add(value);
      byteLength += graph.bytesOf(value);
    } else if (maker.price === Infinity) {
      throw new GradError(
        "grad.taps",
        `"${value.name}" (${maker.operation.type}) cannot be computed again and is not kept`,
      );
    } else if (!recomputed.has(maker)) {
      recomputed.add(maker);
      price += maker.price;
      stack.push(...maker.reads);
    }
  }
  return { kept, recomputed, byteLength, price };
}
