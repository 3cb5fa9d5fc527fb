import { MilError } from "./errors.ts";
import { hostTensorOfLiteral, roundTo } from "./host-tensor.ts";
import type { HostTensor } from "./host-tensor.ts";
import { literalString } from "./literal.ts";
import type { ParameterSpec } from "./op-parameters.ts";
import { isOperandList, literalOf, operandsIn } from "./program.ts";
import type { Argument, Block, Literal, Operand } from "./program.ts";
import { formatType, staticShape, tensorType } from "./types.ts";
import type { DataType, Dimension, TensorType } from "./types.ts";

/** What evaluation needs beyond the inputs' numbers; absent while a program is only being typed. */
export interface CallEnvironment {
  /** Numbers of an operand that is not a constant. */
  readonly resolve: (operand: Operand) => HostTensor;
  /** Runs a nested block (`cond`, `while_loop`). */
  readonly runBlock: (block: Block, inputs: readonly HostTensor[]) => readonly HostTensor[];
  /** Replaces the contents of a state (`write_state`). */
  readonly writeState: (state: Operand, contents: HostTensor) => void;
  /** Seed of random ops that give none (`seed` absent or -1); the same call draws the same numbers. */
  readonly seed?: number;
  /** Rounds of one `while_loop` before it is refused as endless. */
  readonly iterationLimit?: number;
}

/**
 * One use of an op, seen by its row's rules: inputs by name, settings as plain values with their fallbacks.
 * Every accessor throws `MilError` that names the op, the parameter and the rule.
 */
export class OpCall {
  readonly type: string;
  readonly blocks: readonly Block[];
  readonly environment: CallEnvironment | undefined;
  readonly #inputs: ReadonlyMap<string, Argument>;
  readonly #parameters: Readonly<Record<string, ParameterSpec>>;

  constructor(
    operation: {
      readonly type: string;
      readonly inputs: ReadonlyMap<string, Argument>;
      readonly blocks?: readonly Block[];
      readonly attributes?: ReadonlyMap<string, Literal>;
    },
    { parameters }: { readonly parameters: Readonly<Record<string, ParameterSpec>> },
    environment?: CallEnvironment,
  ) {
    this.type = operation.type;
    this.blocks = operation.blocks ?? [];
    this.environment = environment;
    this.#inputs = withAttributes(operation.inputs, operation.attributes, parameters);
    this.#parameters = parameters;
  }

  /** The error of a broken rule, with the op, its inputs' types and the remedy; the caller throws it. */
  fail(rule: string, remedy?: string): MilError {
    return new MilError(
      "mil.op",
      `${this.type}(${this.#describeInputs()}): ${rule}`,
      remedy === undefined ? {} : { remedy },
    );
  }

  /** Whether the program gives a parameter. */
  has(name: string): boolean {
    return this.#inputs.has(name);
  }

  /** The one value of a parameter. Throws where it is missing or a list. */
  operand(name: string): Operand {
    const argument = this.#inputs.get(name);
    if (argument === undefined) throw this.fail(`parameter "${name}" is missing`);
    if (isOperandList(argument)) throw this.fail(`parameter "${name}" takes one value, not a list`);
    return argument;
  }

  /** The values of a variadic parameter. */
  operands(name: string): readonly Operand[] {
    const argument = this.#inputs.get(name);
    if (argument === undefined) throw this.fail(`parameter "${name}" is missing`);
    return operandsIn(argument);
  }

  /** The tensor type of a parameter; a state counts as the tensor it wraps. */
  tensorType(name: string): TensorType {
    return this.tensorTypeOf(this.operand(name), name);
  }

  /** The tensor type of any operand; `name` is what messages call it. */
  tensorTypeOf(operand: Operand, name = "x"): TensorType {
    const { type } = operand;
    const declared = type.kind === "state" ? type.wrapped : type;
    if (declared.kind !== "tensor") {
      throw this.fail(`parameter "${name}" takes a tensor, not ${formatType(type)}`);
    }
    // While evaluating, sizes that the program leaves open are those of the tensor at hand.
    if (this.environment !== undefined && declared.shape.includes("?")) {
      return tensorType(declared.dataType, this.environment.resolve(operand).shape);
    }
    return declared;
  }

  /** Element type of a parameter. */
  dataType(name: string): DataType {
    return this.tensorType(name).dataType;
  }

  /** Sizes of a parameter; "?" or a name where the program leaves one open. */
  shape(name: string): readonly Dimension[] {
    return this.tensorType(name).shape;
  }

  /** All sizes as numbers; used by evaluation and flop counts, which only see concrete programs. */
  staticShape(name: string): readonly number[] {
    return staticShape(this.tensorType(name), `${this.type}'s ${name}`);
  }

  /** Numbers of a parameter: a constant's, or while evaluating anything's. */
  tensor(name: string): HostTensor {
    return this.tensorOf(this.operand(name), name);
  }

  /** Numbers of a parameter that may be left out; nothing where it is. */
  optionalNumbers(name: string): Float64Array | undefined {
    return this.has(name) ? this.tensor(name).data : undefined;
  }

  /** Numbers of any operand, as `tensor`; `name` is what messages call it. */
  tensorOf(operand: Operand, name = "x"): HostTensor {
    const literal = literalOf(operand);
    if (literal !== undefined && literal.data.kind === "numbers")
      return hostTensorOfLiteral(literal);
    if (this.environment !== undefined) return this.environment.resolve(operand);
    throw this.fail(`parameter "${name}" must be a constant here`);
  }

  /** Whether a setting's numbers are known now. */
  isKnown(name: string): boolean {
    if (!this.has(name)) return this.#spec(name).fallback !== undefined;
    const literal = literalOf(this.operand(name));
    return this.environment !== undefined || literal?.data.kind === "numbers";
  }

  /** Whole numbers. Throws where one is not. */
  ints(name: string): readonly number[] {
    const numbers = this.numbers(name);
    const wrong = numbers.find((value) => !Number.isInteger(value));
    if (wrong !== undefined) throw this.fail(`parameter "${name}" takes integers, not ${wrong}`);
    return numbers;
  }

  /** One whole number. */
  int(name: string): number {
    const value = this.float(name);
    if (!Number.isInteger(value)) {
      throw this.fail(`parameter "${name}" takes an integer, not ${value}`);
    }
    return value;
  }

  /** One number. */
  float(name: string): number {
    const [value, ...rest] = this.numbers(name);
    if (value === undefined || rest.length > 0) {
      throw this.fail(`parameter "${name}" takes one number`);
    }
    return value;
  }

  /** A number whose fallback counts as rounded to `dataType`, as a typed default is. */
  floatOf(name: string, dataType: DataType): number {
    return this.has(name) ? this.float(name) : roundTo(dataType, this.float(name));
  }

  /** All numbers of a setting, or its fallback's. */
  numbers(name: string): readonly number[] {
    if (this.has(name)) return Array.from(this.tensor(name).data);
    const fallback = this.#fallback(name);
    if (typeof fallback === "object") return fallback;
    if (typeof fallback === "number") return [fallback];
    throw this.fail(`parameter "${name}" is missing`);
  }

  /** One truth value; false where neither program nor table gives one. */
  bool(name: string): boolean {
    if (!this.has(name)) return this.#fallback(name) === true;
    return this.float(name) !== 0;
  }

  /** Truth values; none where the parameter is absent. */
  bools(name: string): readonly boolean[] {
    if (!this.has(name)) return [];
    return this.ints(name).map((value) => value !== 0);
  }

  /** A constant string, or the fallback. */
  string(name: string): string {
    if (!this.has(name)) {
      const fallback = this.#fallback(name);
      if (typeof fallback === "string") return fallback;
      throw this.fail(`parameter "${name}" is missing`);
    }
    const literal = literalOf(this.operand(name));
    if (literal === undefined) throw this.fail(`parameter "${name}" must be a constant string`);
    return literalString(literal);
  }

  /** A constant string that must be one of `names`, or the fallback. */
  choice<const Name extends string>(name: string, names: readonly Name[]): Name {
    const given = this.string(name);
    const found = names.find((known) => known === given);
    if (found === undefined) throw this.fail(`${name} "${given}" is none of ${names.join(", ")}`);
    return found;
  }

  /** An axis counted from the front. Throws when it is outside the rank. */
  axis(name: string, rank: number): number {
    return this.normalizeAxis(this.int(name), rank, name);
  }

  /** Distinct axes counted from the front, in the order given; all of them where the parameter is absent. */
  axes(name: string, rank: number): readonly number[] {
    if (!this.has(name)) return Array.from({ length: rank }, (_, axis) => axis);
    const axes = this.ints(name).map((axis) => this.normalizeAxis(axis, rank, name));
    if (new Set(axes).size !== axes.length) throw this.fail(`${name} names an axis twice`);
    return axes;
  }

  /** An axis counted from the front. Throws where it is outside `rank`. */
  normalizeAxis(axis: number, rank: number, name = "axis"): number {
    const positive = axis < 0 ? axis + rank : axis;
    if (!Number.isInteger(axis) || positive < 0 || positive >= rank) {
      throw this.fail(`${name} ${axis} is outside rank ${rank}`);
    }
    return positive;
  }

  #spec(name: string): ParameterSpec {
    const spec = Object.hasOwn(this.#parameters, name) ? this.#parameters[name] : undefined;
    if (spec === undefined) throw this.fail(`the op table has no parameter "${name}"`);
    return spec;
  }

  #fallback(name: string): ParameterSpec["fallback"] {
    return this.#spec(name).fallback;
  }

  #describeInputs(): string {
    return [...this.#inputs]
      .map(([name, argument]) =>
        isOperandList(argument)
          ? `${name}: (${argument.map((operand) => formatType(operand.type)).join(", ")})`
          : `${name}: ${formatType(argument.type)}`,
      )
      .join(", ");
  }
}

/** ios16 writes the parameters of `constexpr_*` ops as attributes; they count as inputs. */
function withAttributes(
  inputs: ReadonlyMap<string, Argument>,
  attributes: ReadonlyMap<string, Literal> | undefined,
  known: Readonly<Record<string, ParameterSpec>>,
): ReadonlyMap<string, Argument> {
  if (attributes === undefined || attributes.size === 0) return inputs;
  const parameters = [...attributes].filter(([name]) => Object.hasOwn(known, name));
  return parameters.length === 0 ? inputs : new Map<string, Argument>([...parameters, ...inputs]);
}
