import type { EvaluatedNow } from "./site.ts";

/** Ops over constants only: their row evaluates them when the program is lowered, once. */
const evaluated: EvaluatedNow = { evaluatedNow: true };

export const LOWER_CONSTEXPR = {
  constexpr_affine_dequantize: evaluated,
  constexpr_cast: evaluated,
  constexpr_lut_to_dense: evaluated,
  constexpr_sparse_to_dense: evaluated,
  constexpr_blockwise_shift_scale: evaluated,
  constexpr_lut_to_sparse: evaluated,
  constexpr_sparse_blockwise_shift_scale: evaluated,
} as const satisfies Record<string, EvaluatedNow>;
