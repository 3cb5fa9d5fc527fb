import type { NotLowered } from "./site.ts";

const because = (notLowered: string): NotLowered => ({ notLowered });

const RANDOM = because("runtimes draw other random numbers; give the numbers as an input");
const CONTROL = because("programs must be free of control flow; unroll it");
const STATE = because("states live in the plan's buffers; make the state an input and an output");
const LIST = because("lists have no fixed size; use a tensor");
const IMAGE = because("sampling of images runs on the reference engine only");
const DYNAMIC = because("the size of its result is not known when the program is compiled");
const RECURRENT = because(
  "recurrent layers run on the reference engine only; unroll them into steps",
);

/** Ops without an ONNX form here, each with what to do instead. */
export const NOT_LOWERED = {
  random_bernoulli: RANDOM,
  random_categorical: RANDOM,
  random_normal: RANDOM,
  random_uniform: RANDOM,
  cond: CONTROL,
  while_loop: CONTROL,
  read_state: STATE,
  write_state: STATE,
  make_list: LIST,
  list_length: LIST,
  list_read: LIST,
  list_write: LIST,
  list_gather: LIST,
  list_scatter: LIST,
  upsample_nearest_neighbor: IMAGE,
  resize_nearest_neighbor: IMAGE,
  upsample_bilinear: IMAGE,
  resize_bilinear: IMAGE,
  resize: IMAGE,
  resample: IMAGE,
  affine: IMAGE,
  crop_resize: IMAGE,
  non_zero: DYNAMIC,
  non_maximum_suppression: DYNAMIC,
  classify: because("its result is a dictionary, not a tensor"),
  lstm: RECURRENT,
  gru: RECURRENT,
  rnn: RECURRENT,
} as const satisfies Record<string, NotLowered>;
