import { literalNumbers } from "./literal.ts";
import { opRow } from "./ops/index.ts";
import { isOperandList } from "./program.ts";
import type { Argument, Literal, Operand, Operation } from "./program.ts";
import { formatType } from "./types.ts";

/** Literals above this are told apart by identity: comparing them would cost more than it saves. */
const COMPARED_NUMBERS = 64;

/** Tells 0 from -0, whose reciprocals differ. */
const exactText = (number: number): string => (Object.is(number, -0) ? "-0" : `${number}`);

/** Texts that are equal for ops that compute the same: one type, the same operands, equal settings. */
export class OperationKeys {
  readonly #identities = new Map<object, number>();

  /** Not for ops with nested blocks. */
  keyOf(operation: Omit<Operation, "outputs">): string {
    if (operation.type === "const") {
      const value = operation.attributes.get("val");
      return `const(${value === undefined ? "" : this.#literalKey(value)})`;
    }
    const inputs = [...operation.inputs].map(([name, argument]): readonly [string, string] => [
      name,
      this.#argumentKey(argument),
    ]);
    const texts =
      opRow(operation.type)?.commutative === true
        ? inputs.map(([, key]) => key)
        : inputs.map(([name, key]) => `${name}=${key}`);
    return `${operation.type}(${texts.toSorted().join(";")})`;
  }

  #argumentKey(argument: Argument): string {
    return isOperandList(argument)
      ? argument.map((operand) => this.#operandKey(operand)).join(",")
      : this.#operandKey(argument);
  }

  #operandKey(operand: Operand): string {
    return operand.kind === "value" ? `%${this.#identity(operand)}` : this.#literalKey(operand);
  }

  #literalKey(literal: Literal): string {
    const { data } = literal;
    const type = formatType(literal.type);
    if (data.kind === "strings") return `${type}:${JSON.stringify(data.strings)}`;
    if (data.kind !== "numbers") return `#${this.#identity(literal)}`;
    return data.numbers.length <= COMPARED_NUMBERS
      ? `${type}:${literalNumbers(literal).map(exactText).join(",")}`
      : `${type}#${this.#identity(data.numbers)}`;
  }

  #identity(object: object): number {
    const known = this.#identities.get(object);
    if (known !== undefined) return known;
    const identity = this.#identities.size;
    this.#identities.set(object, identity);
    return identity;
  }
}
