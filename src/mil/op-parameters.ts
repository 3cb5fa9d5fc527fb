import type { DataType } from "./types.ts";

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

/** What the op table says about a parameter. */
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
