import type { MilFunction } from "../../mil/program.ts";
import type { OperandScale } from "./operand-scaling.ts";

/** How the host makes what an input of the engine's function holds from an input of the plan's function. */
export type InputConversion =
  /** A run of `count` elements from `start` on, as fp16. */
  | { readonly kind: "half"; readonly start: number; readonly count: number }
  /** fp16 [N, depth]: 1 where the row's index is `first` plus the column, 0 elsewhere; rows of negative indices hold zeros. */
  | { readonly kind: "one-hot"; readonly first: number; readonly depth: number }
  /** fp16 [N]: 1 where the index is not negative. */
  | { readonly kind: "valid" };

export interface EngineInput {
  /** Input of the engine's function. */
  readonly name: string;
  /** Input of the plan's function it comes from. */
  readonly from: string;
  readonly conversion: InputConversion;
}

/** Where a result of the engine's function goes. */
export interface EngineOutput {
  readonly name: string;
  /** Output of the plan's function. */
  readonly to: string;
  /** `write`: its elements from `start` on. `sum`: the sum of all elements, in fp32 or wider. */
  readonly conversion:
    | { readonly kind: "write"; readonly start: number }
    | { readonly kind: "sum" };
}

/** A program of a plan as the engine takes it: fp16 ports, only ops it has, sizes it allows. */
export interface EngineProgram {
  readonly function: MilFunction;
  readonly inputs: readonly EngineInput[];
  readonly outputs: readonly EngineOutput[];
  /** Powers of two that keep its products on the grid, as the pass chose them. */
  readonly scales: readonly OperandScale[];
}
