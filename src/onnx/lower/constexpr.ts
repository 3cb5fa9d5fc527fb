import { opRow } from "../../mil/ops/index.ts";
import type { Lowering } from "./site.ts";

/** Ops over constants only: their row evaluates them here, once, and the result is a constant of the model. */
const evaluated: Lowering = (site) => {
  const results = opRow(site.operation.type)?.evaluate?.(site.call);
  if (results === undefined) throw site.fail("the op table cannot evaluate it");
  return results.map(({ dataType, shape, data }) => site.constant(dataType, shape, data));
};

export const LOWER_CONSTEXPR = {
  constexpr_affine_dequantize: evaluated,
  constexpr_cast: evaluated,
  constexpr_lut_to_dense: evaluated,
  constexpr_sparse_to_dense: evaluated,
  constexpr_blockwise_shift_scale: evaluated,
  constexpr_lut_to_sparse: evaluated,
  constexpr_sparse_blockwise_shift_scale: evaluated,
} as const satisfies Record<string, Lowering>;
