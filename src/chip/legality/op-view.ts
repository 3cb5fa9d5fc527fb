import { operandOf } from "../../mil/match.ts";
import { isConstexpr } from "../../mil/ops/index.ts";
import { literalOf, operandsNamed, tensorTypeOf } from "../../mil/program.ts";
import type { Literal, MilFunction, Operand, Operation, Value } from "../../mil/program.ts";
import { makersOf, readersOf } from "../../mil/traverse.ts";
import type { TensorType } from "../../mil/types.ts";

/** One op of a function as the rules look at it: settings as plain values, and who uses what. */
export class OpView {
  readonly operation: Operation;
  readonly #uses: FunctionUses;

  constructor(operation: Operation, uses: FunctionUses) {
    this.operation = operation;
    this.#uses = uses;
  }

  get type(): string {
    return this.operation.type;
  }

  get name(): string {
    return this.operation.outputs[0]?.name ?? this.operation.type;
  }

  operand(name: string): Operand | undefined {
    return operandOf(this.operation, name);
  }

  operands(name: string): readonly Operand[] {
    return operandsNamed(this.operation, name);
  }

  /** Sizes of an operand, unknown ones as 0; nothing when it is no tensor. */
  shape(name: string): readonly number[] | undefined {
    const operand = this.operand(name);
    return operand === undefined ? undefined : shapeOf(operand);
  }

  result(): TensorType | undefined {
    const type = this.operation.outputs[0]?.type;
    return type?.kind === "tensor" ? type : undefined;
  }

  resultShape(): readonly number[] {
    const [output] = this.operation.outputs;
    return output === undefined ? [] : (shapeOf(output) ?? []);
  }

  /** The numbers of a setting, when they are written in the program. */
  numbers(name: string): readonly number[] | undefined {
    const operand = this.operand(name);
    const literal = operand === undefined ? undefined : literalOf(operand);
    return literal === undefined ? undefined : smallNumbers(literal);
  }

  number(name: string): number | undefined {
    return this.numbers(name)?.[0];
  }

  isConstant(name: string): boolean {
    const operand = this.operand(name);
    return operand !== undefined && this.#uses.isConstant(operand);
  }

  producer(operand: Operand): Operation | undefined {
    return operand.kind === "value" ? this.#uses.producers.get(operand) : undefined;
  }

  consumers(): readonly Operation[] {
    return this.operation.outputs.flatMap((output) => this.#uses.consumers.get(output) ?? []);
  }

  isFunctionInput(operand: Operand): boolean {
    return operand.kind === "value" && this.#uses.inputs.has(operand);
  }
}

/** Who makes and who reads each value of a function. */
export class FunctionUses {
  readonly producers: ReadonlyMap<Value, Operation>;
  readonly consumers: ReadonlyMap<Value, readonly Operation[]>;
  readonly inputs: ReadonlySet<Value>;

  constructor(fn: MilFunction) {
    this.inputs = new Set(fn.inputs);
    this.producers = makersOf(fn);
    this.consumers = readersOf(fn);
  }

  /** Known when the program is compiled: a literal, a `const`, or a compressed constant. */
  isConstant(operand: Operand): boolean {
    if (literalOf(operand) !== undefined) return true;
    if (operand.kind !== "value") return false;
    const producer = this.producers.get(operand);
    return producer !== undefined && (producer.type === "const" || isConstexpr(producer.type));
  }
}

export function shapeOf(operand: Operand): readonly number[] | undefined {
  return tensorTypeOf(operand)?.shape.map((size) => (size === "?" ? 0 : size));
}

/** Settings are short; weights are left alone. */
function smallNumbers(literal: Literal): readonly number[] | undefined {
  if (literal.data.kind !== "numbers" || literal.data.numbers.length > 64) return undefined;
  return Array.from(literal.data.numbers, Number);
}
