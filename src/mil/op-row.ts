import type { HostTensor } from "./host-tensor.ts";
import type { OpCall } from "./op-call.ts";
import type { Operand, Opset } from "./program.ts";
import type { ParameterSpec } from "./op-parameters.ts";
import type { MilType } from "./types.ts";

/** One row of the op table: all that the language itself knows of an op. */
export interface OpRow {
  readonly parameters: Readonly<Record<string, ParameterSpec>>;
  /** First opset that has the op. */
  readonly since: Opset;
  /** Result types from input types and constants. Throws `MilError` naming the rule that is broken. */
  readonly infer: (call: OpCall) => readonly MilType[];
  /**
   * The results in double precision, slow and obvious; the reference engine rounds them to the declared type.
   * Absent only where `anecdote ops --missing` lists the op.
   */
  readonly evaluate?: (call: OpCall) => readonly HostTensor[];
  /** Floating-point operations: 2 per multiply-accumulate, 1 per element of an elementwise op. */
  readonly flops: (call: OpCall) => number;
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
