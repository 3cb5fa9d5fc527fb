import type { MilFunction } from "../mil/program.ts";

/**
 * fp16 [N, depth]: 1 where the row's index is `first` plus the column, 0 elsewhere. Indices point at one of `size`
 * elements: negative ones count from the end, or stand for the first element; others are an error.
 */
export interface OneHotConversion {
  readonly kind: "one-hot";
  readonly first: number;
  readonly depth: number;
  readonly size: number;
  readonly negative: "from-end" | "first";
}

/** How the host makes what an input of the engine's function holds from an input of the plan's function. */
export type InputConversion =
  /** A run of `count` elements from `start` on, as fp16. */
  | { readonly kind: "half"; readonly start: number; readonly count: number }
  | OneHotConversion
  /** fp16 [N]: 1 where the index is not negative. */
  | { readonly kind: "valid" };

export interface EngineInput {
  /** Input of the engine's function. */
  readonly name: string;
  /** Input of the plan's function it comes from, or result of the program's host part. */
  readonly from: string;
  readonly conversion: InputConversion;
}

/** Where a result of the engine's function goes. */
export interface EngineOutput {
  readonly name: string;
  /** Output of the plan's function. */
  readonly to: string;
  /** `write`: its elements from `start` on, times `factor` in fp32 where there is one. `sum`: the sum of all elements, in fp32 or wider. */
  readonly conversion:
    | { readonly kind: "write"; readonly start: number; readonly factor?: number }
    | { readonly kind: "sum" };
}

/** What one product of a program meets in all dispatches of the program: its smallest and largest numbers. */
export interface ProductRange {
  /** log2 of the smallest typical product. */
  readonly product: number;
  /** log2 of the largest sum to be expected. */
  readonly sum: number;
  readonly isGradient: boolean;
}

/** What one product's operands are multiplied with before it and its result is divided by. */
export interface OperandScale {
  /** Name of the product's result. */
  readonly product: string;
  readonly operand: "x" | "y" | "weight";
  /** The operand is multiplied with 2^exponent, the result with 2^-exponent. */
  readonly exponent: number;
  /** log2 of the typical product and of the largest sum, both without the scale. */
  readonly range: ProductRange;
}

/** Where a program of a plan runs, and as what. */
export type PlacedProgram =
  | { readonly place: "engine"; readonly program: EngineProgram }
  | { readonly place: "host"; readonly reason: string };

/** A program of a plan as the engine takes it: fp16 ports, only ops it has, sizes it allows. */
export interface EngineProgram {
  readonly function: MilFunction;
  /**
   * What the host computes first from inputs of the plan's function, in their own types: index arithmetic, look-ups,
   * masks of tokens. Its results are ports' sources, and those results of the plan's function that need no engine.
   */
  readonly hostPart?: MilFunction;
  readonly inputs: readonly EngineInput[];
  readonly outputs: readonly EngineOutput[];
  /** Powers of two that keep its products on the grid, as the pass chose them. */
  readonly scales: readonly OperandScale[];
}
