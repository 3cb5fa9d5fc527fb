import type { NotLowered } from "./site.ts";

const because = (notLowered: string): NotLowered => ({ notLowered });

const STATE = because("states live in the plan's buffers; make the state an input and an output");
const LIST = because("the length of a list changes while the program runs; use a tensor");
const DYNAMIC = because("the size of its result is not known when the program is compiled");

/** Ops without an ONNX form here, each with what to do instead. */
export const NOT_LOWERED = {
  read_state: STATE,
  write_state: STATE,
  make_list: LIST,
  list_length: LIST,
  list_read: LIST,
  list_write: LIST,
  list_gather: LIST,
  list_scatter: LIST,
  non_zero: DYNAMIC,
  non_maximum_suppression: DYNAMIC,
  classify: because("its result is a dictionary, not a tensor"),
} as const satisfies Record<string, NotLowered>;
