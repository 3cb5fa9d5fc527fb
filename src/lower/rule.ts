import type { OpCall } from "../mil/op-call.ts";
import type { Operation } from "../mil/program.ts";
import type { Lowered } from "./lowered-value.ts";
import type { Lowering } from "./lowering.ts";

/** What becomes of an op's results on the way to the engine; nothing where it is copied as it is. */
export type LoweringRule = (
  lowering: Lowering,
  call: OpCall,
  operation: Operation,
) => Lowered | readonly Lowered[] | undefined;
