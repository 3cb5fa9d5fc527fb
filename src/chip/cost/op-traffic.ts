import { opRow } from "../../mil/ops/index.ts";
import type { Operation } from "../../mil/program.ts";
import { tensorTypeOf } from "../../mil/program.ts";

/** How often an op's operands and results cross the activation memory. */
interface Passes {
  readonly reads: number;
  readonly writes: number;
}

const ONCE: Passes = { reads: 1, writes: 1 };

/**
 * Ops that do more than read their operands and write their result once. Softmax: maximum, exponential of
 * the difference, sum, division. The norms as single ops are composites over the last axis; their measured
 * slowness on M5 (0.17 and 0.49 ms at 256 x 1024) is 25 and 70 passes. Written out op by op they cost
 * what their ops cost.
 */
const PASSES: Readonly<Record<string, Passes>> = {
  softmax: { reads: 4, writes: 2 },
  layer_norm: { reads: 25, writes: 25 },
  instance_norm: { reads: 6, writes: 2 },
  batch_norm: ONCE,
  l2_norm: { reads: 6, writes: 2 },
  /** Not a MIL op: rows that measure a root-mean-square norm as one program use this name. */
  rms_norm: { reads: 70, writes: 70 },
  gelu: { reads: 2, writes: 1 },
};

/** Bytes of activations an op moves. A reshape that only adds or drops sizes of 1 is free. */
export function opTraffic(operation: Operation, operandBytes: number, resultBytes: number): number {
  if (opRow(operation.type)?.kind === "view" && keepsLayout(operation)) return 0;
  return passTraffic(operation.type, operandBytes, resultBytes);
}

export function passTraffic(op: string, operandBytes: number, resultBytes: number): number {
  const { reads, writes } = PASSES[op] ?? ONCE;
  return reads * operandBytes + writes * resultBytes;
}

function keepsLayout(operation: Operation): boolean {
  const source = operation.inputs.get("x");
  const result = operation.outputs[0];
  if (source === undefined || !("kind" in source) || result === undefined) return false;
  const from = tensorTypeOf(source)?.shape.filter((size) => size !== 1);
  const to = tensorTypeOf(result)?.shape.filter((size) => size !== 1);
  return from !== undefined && to !== undefined && from.join() === to.join();
}
