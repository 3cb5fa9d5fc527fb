import { FunctionBuilder } from "../mil/builder.ts";
import { literalNumbers } from "../mil/literal.ts";
import type { Argument, Literal, Operand, Operation, Value } from "../mil/program.ts";
import { isOperandList } from "../mil/program.ts";
import { isPure } from "../mil/traverse.ts";
import type { MilType } from "../mil/types.ts";
import { formatType } from "../mil/types.ts";

/** Tells 0 from -0, whose reciprocals differ. */
const exactText = (number: number): string => (Object.is(number, -0) ? "-0" : `${number}`);

/** Literals above this are told apart by identity: comparing them would cost more than it saves. */
const COMPARED_NUMBERS = 64;

/**
 * A builder that writes no op twice: an op with the same inputs as an earlier one, of the function that is
 * differentiated included, is that one's result.
 */
export class CommoningBuilder extends FunctionBuilder {
  readonly #known = new Map<string, readonly Value[]>();
  readonly #identities = new Map<object, number>();

  /** Ops whose results may be used in place of new ones. */
  know(operations: readonly Operation[]): void {
    for (const operation of operations) {
      if (isPure(operation) && operation.blocks.length === 0) {
        this.#known.set(this.#keyOf(operation), operation.outputs);
      }
    }
  }

  override append(
    operation: Omit<Operation, "outputs">,
    name?: string,
    types?: readonly MilType[],
  ): readonly Value[] {
    if (operation.blocks.length > 0 || !isPure({ ...operation, outputs: [] })) {
      return super.append(operation, name, types);
    }
    const key = this.#keyOf(operation);
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const outputs = super.append(operation, name, types);
    this.#known.set(key, outputs);
    return outputs;
  }

  #keyOf(operation: Omit<Operation, "outputs">): string {
    const inputs = [...operation.inputs]
      .map(([name, argument]) => `${name}=${this.#argumentKey(argument)}`)
      .toSorted();
    return `${operation.type}(${inputs.join(";")})`;
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
    if (data.kind === "strings") return `"${data.strings.join('","')}"`;
    if (data.kind === "numbers" && data.numbers.length <= COMPARED_NUMBERS) {
      return `${formatType(literal.type)}:${literalNumbers(literal).map(exactText).join(",")}`;
    }
    return `#${this.#identity(literal)}`;
  }

  #identity(object: object): number {
    const known = this.#identities.get(object);
    if (known !== undefined) return known;
    const identity = this.#identities.size;
    this.#identities.set(object, identity);
    return identity;
  }
}
