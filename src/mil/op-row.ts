import type { HostTensor } from "./host-tensor.ts";
import type { OpCall } from "./op-call.ts";
import type { Operand, Opset } from "./program.ts";
import type { ParameterSpec } from "./op-parameters.ts";
import type { Dimension, MilType } from "./types.ts";

/**
 * What running an op a second time costs, roughly. `view`: nothing, the numbers stay where they are.
 * `movement`: a copy. `elementwise`: a pass over the operands. `costly`: more than that for every element of
 * the result, so that keeping the result is worth its memory.
 */
export type OpKind = "view" | "movement" | "elementwise" | "costly";

/** Facts about an op that passes, derivatives, lowerings and engines ask for: one place for each. */
interface OpTraits {
  readonly kind: OpKind;
  /** Each number of the result depends on the number of `x` at its place alone; settings are single numbers. */
  readonly pointwise?: true;
  /** Tensor operands are spread out to one shape, and each number of the result depends on one of each. */
  readonly broadcasts?: true;
  /** Exchanging operands changes nothing. */
  readonly commutative?: true;
  /** Where the numbers of the first result are from when none is computed: `x`, or any operand (0 counts as one). */
  readonly numbersOf?: "x" | "operands";
  /** Reducing one number gives this number. */
  readonly keepsSingle?: true;
  /** Running it a second time may give something else, or changes a state. */
  readonly impure?: true;
  /** The operand that updates are added to, in mode "add" and where no mode is given. */
  readonly addsTo?: string;
  /** Multiplies and sums two operands: which, and how many terms each sum has, where sizes tell. */
  readonly product?: ProductTrait;
  /** Where its values matter in practice; absent means everywhere. */
  readonly domain?: "positive";
}

/** What an op multiplies and sums. */
export interface ProductTrait {
  /** The operand that goes through, and the one that counts as weights. */
  readonly operands: readonly [string, string];
  /** A convolution slides its weights over places. */
  readonly slides?: true;
  /** How many products each number of the result sums. */
  readonly terms: (call: OpCall) => Dimension;
}

/** One row of the op table: all that the language itself knows of an op. */
export interface OpRow extends OpTraits {
  readonly parameters: Readonly<Record<string, ParameterSpec>>;
  /** First opset that has the op, where no signature says it: the op is not public. */
  readonly since?: Opset;
  /** Result types from input types and constants. Throws `MilError` naming the rule that is broken. */
  readonly infer: (call: OpCall) => readonly MilType[];
  /**
   * The results in double precision, slow and obvious; the reference engine rounds them to the declared type.
   * Absent only where `anecdote ops --missing` lists the op.
   */
  readonly evaluate?: (call: OpCall) => readonly HostTensor[];
  /** Floating-point operations: 2 per multiply-accumulate, 1 per element of an elementwise op; absent where none. */
  readonly flops?: (call: OpCall) => number;
}

/** Keeps a row's parameter names and kinds in its type, so that builders and rules are checked against them. */
export function defineOp<const Row extends OpRow>(row: Row): Row {
  return row;
}

/** What the builder accepts for a parameter. */
type InputOf<Spec extends ParameterSpec> = Spec["kind"] extends "tensor"
  ? Operand | number
  : Spec["kind"] extends "tensors"
    ? readonly Operand[]
    : Spec["kind"] extends "int" | "float"
      ? number | Operand
      : Spec["kind"] extends "ints"
        ? readonly number[] | Operand
        : Spec["kind"] extends "bool"
          ? boolean | Operand
          : Spec["kind"] extends "bools"
            ? readonly boolean[] | Operand
            : string | Operand;

type Parameters<Row extends OpRow> = Row["parameters"];
type OptionalNames<Row extends OpRow> = {
  [Name in keyof Parameters<Row>]: Parameters<Row>[Name]["optional"] extends true ? Name : never;
}[keyof Parameters<Row>];

/** The named inputs of an op as the builder takes them. */
export type OpInputs<Row extends OpRow> = {
  readonly [Name in Exclude<keyof Parameters<Row>, OptionalNames<Row>>]: InputOf<
    Parameters<Row>[Name]
  >;
} & { readonly [Name in OptionalNames<Row>]?: InputOf<Parameters<Row>[Name]> | undefined };
