import { OpCall } from "../mil/op-call.ts";
import { OPS } from "../mil/ops/index.ts";
import type { Operation } from "../mil/program.ts";
import { knownShape, operandOf } from "../mil/match.ts";
import { rewriting } from "./rewrite.ts";

/** The order of a transpose's axes, counted from the front; nothing for another op. */
export function permutationOf(operation: Operation | undefined): readonly number[] | undefined {
  if (operation?.type !== "transpose") return undefined;
  const call = new OpCall(operation, OPS.transpose);
  const rank = call.shape("x").length;
  return call.ints("perm").map((axis) => call.normalizeAxis(axis, rank, "perm"));
}

/**
 * A transpose of a transpose is one, one that moves nothing is none, and one that moves only axes of size 1
 * is a reshape.
 */
export const mergeTransposes = rewriting("merge transposes", (operation, { emit, makerOf }) => {
  const perm = permutationOf(operation);
  const x = operandOf(operation, "x");
  if (perm === undefined || x === undefined) return undefined;
  if (x.kind === "value" && perm.every((axis, place) => axis === place)) return x;
  const maker = makerOf(x);
  const inner = permutationOf(maker);
  const source = operandOf(maker, "x");
  if (inner !== undefined && source !== undefined) {
    const both = perm.map((axis) => inner[axis] ?? axis);
    if (source.kind === "value" && both.every((axis, place) => axis === place)) return source;
    return emit.op("transpose", { x: source, perm: both });
  }
  const shape = knownShape(x);
  if (shape === undefined) return undefined;
  const moving = perm.filter((axis) => shape[axis] !== 1);
  const keepsOrder = moving.every((axis, place) => place === 0 || axis > (moving[place - 1] ?? 0));
  return keepsOrder
    ? emit.op("reshape", { x, shape: perm.map((axis) => shape[axis] ?? 1) })
    : undefined;
});
