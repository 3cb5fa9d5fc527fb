import { notDifferentiable, ZERO_GRADIENT } from "../rule.ts";
import type { GradientTable } from "../rule.ts";

const DRAWN = notDifferentiable(
  "its numbers are drawn anew in every run; shift and scale standard numbers by mul and add instead",
);
const STORED = notDifferentiable(
  "its operands are constants of the program, made when it is compiled; weights that learn are inputs",
);
const LIST = notDifferentiable(
  "lists serve loops, whose number of rounds is only known when they run; use stack, concat and gather",
);
const STATE = notDifferentiable(
  "a state outlives the run, and gradients do not; make it an input and an output",
);

/** Ops that nothing flows back through, each with the reason. */
export const WITHOUT_GRADIENT = {
  random_bernoulli: ZERO_GRADIENT,
  random_categorical: ZERO_GRADIENT,
  random_normal: DRAWN,
  random_uniform: DRAWN,
  quantize: ZERO_GRADIENT,
  constexpr_affine_dequantize: STORED,
  constexpr_blockwise_shift_scale: STORED,
  constexpr_cast: STORED,
  constexpr_lut_to_dense: STORED,
  constexpr_lut_to_sparse: STORED,
  constexpr_sparse_blockwise_shift_scale: STORED,
  constexpr_sparse_to_dense: STORED,
  cond: notDifferentiable(
    "its backward function would need the branch that ran; compute both sides and choose by select",
  ),
  while_loop: notDifferentiable(
    "how often it runs is only known when it runs; write its rounds out one after the other",
  ),
  read_state: STATE,
  write_state: STATE,
  make_list: LIST,
  list_length: ZERO_GRADIENT,
  list_read: LIST,
  list_write: LIST,
  list_gather: LIST,
  list_scatter: LIST,
  crop_resize: notDifferentiable(
    "the op table has no evaluation of it that a derivative could be checked against; use resample",
  ),
  non_maximum_suppression: notDifferentiable(
    "which boxes survive is a search; gradients belong to the boxes and scores before it",
  ),
  classify: notDifferentiable("it gives labels; gradients belong to the probabilities before it"),
} as const satisfies Partial<GradientTable>;
