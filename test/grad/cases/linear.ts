import type { OpName } from "../../../src/mil/ops/index.ts";
import type { CaseBuilder } from "../../helpers/finite-differences.ts";
import type { DrawCase } from "./case.ts";

const swapped = (rows: number, columns: number, transposed: boolean): number[] =>
  transposed ? [columns, rows] : [rows, columns];

function matmul(c: CaseBuilder) {
  const [rows, inner, columns] = [c.between(1, 3), c.between(1, 3), c.between(1, 3)];
  const batch = c.shape(0, 2, 2);
  const transposeX = c.chance();
  const transposeY = c.chance();
  if (c.chance(0.15)) {
    const x = c.float("x", [inner]);
    const y = c.float("y", c.chance() ? [inner] : [...batch, inner, columns]);
    return [c.f.op("matmul", { x, y })];
  }
  if (c.chance(0.1)) {
    const y = c.float("y", [inner]);
    return [c.f.op("matmul", { x: c.float("x", [...batch, rows, inner]), y })];
  }
  const x = c.float("x", [...c.broadcastable(batch), ...swapped(rows, inner, transposeX)]);
  // Often a single matrix for the whole stack, as weights are.
  const stack = c.chance(0.4) ? [] : c.broadcastable(batch);
  const y = c.float("y", [...stack, ...swapped(inner, columns, transposeY)]);
  return [c.f.op("matmul", { x, y, transpose_x: transposeX, transpose_y: transposeY })];
}

function attention(c: CaseBuilder) {
  const batch = c.shape(1, 2, 2);
  const [targets, sources, channels, width] = [2, c.between(1, 3), c.between(1, 3), 2];
  const query = c.float("query", [...batch, targets, channels]);
  const key = c.float("key", [...batch, sources, channels]);
  const value = c.float("value", [...batch, sources, width]);
  const kind = c.pick(["none", "float", "bool"] as const);
  const scores = [...batch, targets, sources];
  if (kind === "none") return [c.f.op("scaled_dot_product_attention", { query, key, value })];
  const attn_mask =
    kind === "float"
      ? c.float("attn_mask", c.broadcastable(scores))
      : // The first source is always seen: a row without any has no softmax.
        c.given(
          "attn_mask",
          "bool",
          [targets, sources],
          Array.from({ length: targets * sources }, (_, index) =>
            index % sources === 0 || c.chance() ? 1 : 0,
          ),
        );
  return [c.f.op("scaled_dot_product_attention", { query, key, value, attn_mask })];
}

export const LINEAR_CASES: Partial<Record<OpName, DrawCase>> = {
  matmul,
  linear: (c) => {
    const [inputs, outputs] = [c.between(1, 3), c.between(1, 3)];
    const x = c.float("x", [...c.shape(0, 2), inputs]);
    const weight = c.float("weight", [outputs, inputs]);
    const bias = c.chance() ? c.float("bias", [outputs]) : undefined;
    return [c.f.op("linear", { x, weight, bias })];
  },
  scaled_dot_product_attention: attention,
};
