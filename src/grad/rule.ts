import type { FunctionBuilder } from "../mil/builder.ts";
import type { OpCall } from "../mil/op-call.ts";
import type { OPS, OpName } from "../mil/ops/index.ts";
import type { MilFunction, Operand, Operation, Value } from "../mil/program.ts";

/** One op on its way back: its operands and results are forward values, free to be used by what is emitted. */
export interface GradientContext<Parameter extends string> {
  readonly emit: FunctionBuilder;
  readonly operation: Operation;
  /** Settings as plain values, with their fallbacks. */
  readonly call: OpCall;
  readonly outputs: readonly Value[];
  /** The first result. */
  readonly output: Value;
  /** One a result; nothing where the result does not matter. */
  readonly gradients: readonly (Value | undefined)[];
  /** Gradient of the first result; zeros when only another one matters. */
  readonly gradient: Value;
  readonly operand: (name: Parameter) => Operand;
  readonly operands: (name: Parameter) => readonly Operand[];
  readonly shape: (name: Parameter) => readonly number[];
  /** Whether anybody asks for this input's gradient; of a variadic one, for that of its `index`-th value. */
  readonly wants: (name: Parameter, index?: number) => boolean;
  /** Ops of the function that read a value, and the function's end where it is a result. */
  readonly readersOf: (value: Value) => readonly (Operation | undefined)[];
  /** The op of the derivative that made a value. */
  readonly writerOf: (value: Value) => Operation | undefined;
  /**
   * The gradient through the same computation written in simpler ops: a function whose inputs are named as
   * the op's parameters and whose outputs stand in the order of its results.
   */
  readonly through: (simpler: MilFunction) => InputGradients<Parameter>;
}

/** A gradient that is zero outside a run of one axis: neighbours are joined by `concat` instead of added. */
export interface SliceGradient {
  readonly kind: "slice";
  readonly axis: number;
  readonly begin: number;
  readonly gradient: Value;
}

/**
 * What a rule returns for an input. A value may still have the shape the input was broadcast to: the caller
 * sums it down.
 */
export type Contribution = Value | SliceGradient;

export type InputGradients<Parameter extends string> = {
  readonly [Name in Parameter]?: Contribution | readonly (Contribution | undefined)[] | undefined;
};

/** The derivative of an op as ops: gradients of the results in, gradients of the inputs out. */
export type GradientRule<Parameter extends string> = (
  context: GradientContext<Parameter>,
) => InputGradients<Parameter>;

/** An op of one tensor, by its gradient from the result's one, the operand, the result and the op's settings. */
export function unary(
  derivative: (e: FunctionBuilder, g: Value, x: Operand, y: Value, call: OpCall) => Value,
): GradientRule<"x"> {
  return ({ emit, gradient, operand, output, call }) => ({
    x: derivative(emit, gradient, operand("x"), output, call),
  });
}

/** Constant almost everywhere, or not a float: nothing flows back. */
export interface ZeroGradient {
  readonly kind: "zero";
}
export const ZERO_GRADIENT: ZeroGradient = Object.freeze({ kind: "zero" });

/** An op whose gradient is asked for in vain; the reason stands in the error. */
export interface NotDifferentiable {
  readonly kind: "not differentiable";
  readonly reason: string;
}
export function notDifferentiable(reason: string): NotDifferentiable {
  return Object.freeze({ kind: "not differentiable", reason });
}

export type ParameterOf<Name extends OpName> = keyof (typeof OPS)[Name]["parameters"] & string;

export type GradientEntry<Name extends OpName> =
  | GradientRule<ParameterOf<Name>>
  | ZeroGradient
  | NotDifferentiable;

/** The whole table: an op without an entry does not compile. */
export type GradientTable = { readonly [Name in OpName]: GradientEntry<Name> };
