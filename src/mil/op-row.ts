import type { HostTensor } from "./host-tensor.ts";
import type { OpCall } from "./op-call.ts";
import type { Operand, Opset } from "./program.ts";
import type { DataType, MilType } from "./types.ts";

/**
 * What a parameter takes. `tensor` and `tensors` (variadic) are data; the others are settings, usually
 * constants, that the builder accepts as plain TypeScript values.
 */
export type ParameterKind =
  | "tensor"
  | "tensors"
  | "int"
  | "ints"
  | "float"
  | "bool"
  | "bools"
  | "string";

export interface ParameterSpec {
  readonly kind: ParameterKind;
  readonly optional: boolean;
  /** Must be known when the program is compiled. */
  readonly constant: boolean;
  /** Value taken when the parameter is left out; absent where leaving it out means something else. */
  readonly fallback?: number | boolean | string | readonly number[];
  /** Element types allowed; absent means any numeric type. */
  readonly types?: readonly DataType[];
}

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

// Short constructors for the `parameters` column.
export function tensor<const T extends readonly DataType[]>(...types: T) {
  return {
    kind: "tensor",
    optional: false,
    constant: false,
    ...(types.length > 0 && { types }),
  } as const;
}
export function optionalTensor<const T extends readonly DataType[]>(...types: T) {
  return {
    kind: "tensor",
    optional: true,
    constant: false,
    ...(types.length > 0 && { types }),
  } as const;
}
export function constantTensor<const T extends readonly DataType[]>(...types: T) {
  return {
    kind: "tensor",
    optional: false,
    constant: true,
    ...(types.length > 0 && { types }),
  } as const;
}
export function optionalConstantTensor<const T extends readonly DataType[]>(...types: T) {
  return {
    kind: "tensor",
    optional: true,
    constant: true,
    ...(types.length > 0 && { types }),
  } as const;
}
export function tensors() {
  return { kind: "tensors", optional: false, constant: false } as const;
}
export function required<const Kind extends ParameterKind>(kind: Kind) {
  return { kind, optional: false, constant: true } as const;
}
/** A setting that may be left out; without a fallback its absence has a meaning of its own. */
export function optional<const Kind extends ParameterKind>(
  kind: Kind,
  fallback?: number | boolean | string | readonly number[],
) {
  return {
    kind,
    optional: true,
    constant: true,
    ...(fallback !== undefined && { fallback }),
  } as const;
}
/** A setting that may also be computed by the program (`reshape`'s `shape`). */
export function runtime<const Kind extends ParameterKind>(kind: Kind) {
  return { kind, optional: false, constant: false } as const;
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
