import type { MilType, TensorType } from "./types.ts";

/** Opsets by the name their functions carry in text. */
export const OPSETS = ["ios13", "ios14", "ios15", "ios16", "ios17", "ios18"] as const;
/** A version of MIL's op set, by the name that programs carry. */
export type Opset = (typeof OPSETS)[number];

/** Numbers of a literal: fp16, bf16 and fp8 stand in a Float32Array, bool and sub-byte types in the byte arrays. */
export type NumericData =
  | Float64Array
  | Float32Array
  | Int8Array
  | Int16Array
  | Int32Array
  | BigInt64Array
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | BigUint64Array;

/** A tensor that stands in a weight file; `offset` is that of the blob's metadata record. */
export interface BlobReference {
  readonly kind: "blob";
  readonly path: string;
  readonly offset: number;
}

/** Contents of a list, tuple or dictionary literal; a dictionary holds [key, value] pairs. */
export interface LiteralItems {
  readonly kind: "items";
  readonly items: readonly Literal[];
}
/** Keys and values of a dictionary literal. */
export interface LiteralPairs {
  readonly kind: "pairs";
  readonly pairs: readonly (readonly [Literal, Literal])[];
}

/** `shape` is set only where the type leaves sizes open, as in `tensor<int32, [?, ?]>([[1, 2]])`. */
export interface NumericLiteralData {
  readonly kind: "numbers";
  readonly numbers: NumericData;
  readonly shape?: readonly number[];
}
/** Strings of a literal, in row-major order; `shape` as in `NumericLiteralData`. */
export interface StringLiteralData {
  readonly kind: "strings";
  readonly strings: readonly string[];
  readonly shape?: readonly number[];
}

/** What a literal holds. */
export type LiteralData =
  | NumericLiteralData
  | StringLiteralData
  | BlobReference
  | LiteralItems
  | LiteralPairs;

/** A value written in the program text. */
export interface Literal {
  readonly kind: "literal";
  readonly type: MilType;
  readonly data: LiteralData;
}

/** The result of an op, or an input of a function or block. `constant` is set when a `const` op made it. */
export interface Value {
  readonly kind: "value";
  readonly name: string;
  readonly type: MilType;
  readonly constant?: Literal;
}

/** What an op reads: a value or a constant. */
export type Operand = Value | Literal;

/** Variadic parameters (`concat`'s `values`) take a list. */
export type Argument = Operand | readonly Operand[];

/** One op: its inputs by parameter, its outputs, its blocks. */
export interface Operation {
  /** The op's name in the table, or any name a file uses: what is not understood is carried through. */
  readonly type: string;
  readonly inputs: ReadonlyMap<string, Argument>;
  readonly outputs: readonly Value[];
  /** Nested blocks of `cond` and `while_loop`. */
  readonly blocks: readonly Block[];
  readonly attributes: ReadonlyMap<string, Literal>;
  /** The version that the runtime's analytics dialect prints after the name: `cast<ios17>(...)`. */
  readonly opset?: string;
}

/** Operations with inputs and outputs inside another operation. */
export interface Block {
  readonly inputs: readonly Value[];
  readonly operations: readonly Operation[];
  readonly outputs: readonly Value[];
}

/** A function: typed inputs, operations in order, named outputs. */
export interface MilFunction extends Block {
  readonly name: string;
  /** Usually one of OPSETS; files may carry others. */
  readonly opset: string;
  readonly attributes: ReadonlyMap<string, Literal>;
}

/** Frozen once built: passes make new programs and share what they do not change. */
export interface Program {
  /** The dialect it is printed in: "1.0" or "1.3". */
  readonly version: string;
  readonly attributes: ReadonlyMap<string, Literal>;
  readonly functions: readonly MilFunction[];
}

export function isValue(argument: Argument): argument is Value {
  return "kind" in argument && argument.kind === "value";
}

export function isOperandList(argument: Argument): argument is readonly Operand[] {
  return Array.isArray(argument);
}

/** The operands of a parameter: one, a list, or none where it is left out. */
export function operandsIn(argument: Argument | undefined): readonly Operand[] {
  if (argument === undefined) return [];
  return isOperandList(argument) ? argument : [argument];
}

/** Every operand of an op, in the order of its inputs. */
export function operandsOf(operation: Operation): readonly Operand[] {
  return [...operation.inputs.values()].flatMap(operandsIn);
}

/** The operands of one parameter of an op. */
export function operandsNamed({ inputs }: Operation, name: string): readonly Operand[] {
  return operandsIn(inputs.get(name));
}

/** Names of all values of a block and of the blocks in it, added to `names`. */
export function namesIn(block: Block, names = new Set<string>()): Set<string> {
  for (const value of block.inputs) names.add(value.name);
  for (const operation of block.operations) {
    for (const value of operation.outputs) names.add(value.name);
    for (const nested of operation.blocks) namesIn(nested, names);
  }
  return names;
}

/** An op's inputs with every operand replaced. */
export function mapInputs(
  { inputs }: Pick<Operation, "inputs">,
  replace: (operand: Operand, name: string) => Operand,
): ReadonlyMap<string, Argument> {
  const mapped = new Map<string, Argument>();
  for (const [name, argument] of inputs) {
    const swap = (operand: Operand): Operand => replace(operand, name);
    mapped.set(name, isOperandList(argument) ? argument.map(swap) : swap(argument));
  }
  return mapped;
}

/** A value, frozen; with a constant where a `const` op makes it. */
export function namedValue(name: string, type: MilType, constant?: Literal): Value {
  return Object.freeze({ kind: "value", name, type, ...(constant !== undefined && { constant }) });
}

/** An op without blocks and attributes. */
export function plainOperation(
  type: string,
  inputs: Readonly<Record<string, Argument>>,
  outputs: readonly Value[],
): Operation {
  return Object.freeze({
    type,
    inputs: new Map(Object.entries(inputs)),
    outputs: Object.freeze([...outputs]),
    blocks: Object.freeze([]),
    attributes: new Map<string, Literal>(),
  });
}

/** The `const` op that makes a value. */
export function constantOperation(value: Value, literal: Literal): Operation {
  const attributes = new Map([["val", literal]]);
  return Object.freeze({ ...plainOperation("const", {}, [value]), attributes });
}

/** The literal behind an operand, when it is one or a `const` op's result. */
export function literalOf(operand: Operand): Literal | undefined {
  return operand.kind === "literal" ? operand : operand.constant;
}

/** An operand's type, when it is a tensor. */
export function tensorTypeOf(operand: Operand): TensorType | undefined {
  return operand.type.kind === "tensor" ? operand.type : undefined;
}
