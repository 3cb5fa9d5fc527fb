import { opRow } from "../../mil/ops/index.ts";
import type { OpName } from "../../mil/ops/index.ts";
import { literalOf } from "../../mil/program.ts";
import type { Literal } from "../../mil/program.ts";
import { OnnxError } from "../errors.ts";
import { isOperand } from "./fold-constants.ts";

/**
 * Constants that hold 64-bit integers cut to 32 bits, which is what MIL computes with. They may be moved ("to the end",
 * as exporters write 2^63 - 1) and not computed with.
 */
export class WideIntegers {
  readonly #cut = new Set<Literal>();
  readonly #fileName: string;
  readonly #nameOf: (literal: Literal) => string | undefined;

  constructor(fileName: string, nameOf: (literal: Literal) => string | undefined) {
    this.#fileName = fileName;
    this.#nameOf = nameOf;
  }

  note(literal: Literal): void {
    this.#cut.add(literal);
  }

  /** Throws `OnnxError` `onnx.import.range` where a result would be a constant that was cut. */
  requireNone(literal: Literal, what: string): void {
    if (this.#cut.has(literal)) throw this.#refusal(literal, what);
  }

  /**
   * What an op may do with its inputs: without constants that were cut anything, with them move them. Gives what is to be
   * told of the results that are constants. Throws `OnnxError` `onnx.import.range`.
   */
  follow(type: OpName, inputs: object): (results: readonly Literal[]) => void {
    const wide = Object.values(inputs)
      .flat()
      .filter(isOperand)
      .map(literalOf)
      .find((literal) => literal !== undefined && this.#cut.has(literal));
    if (wide === undefined) return () => undefined;
    if (!moves(type)) throw this.#refusal(wide, type);
    // A moved constant that still holds the bounds of int32 may hold what was cut.
    return (results) => results.filter(holdsBounds).forEach((literal) => this.note(literal));
  }

  #refusal(literal: Literal, what: string): OnnxError {
    return new OnnxError(
      "onnx.import.range",
      `${this.#fileName}: "${this.#nameOf(literal) ?? "a constant"}" holds 64-bit integers beyond int32, which is what MIL computes with, and ${what} would compute with them`,
      { remedy: "Export the model with 32-bit integers." },
    );
  }
}

/** Whether an op moves numbers without computing with them or comparing them. */
function moves(type: OpName): boolean {
  const row = opRow(type);
  return row?.numbersOf !== undefined && (row.kind === "view" || row.kind === "movement");
}

function holdsBounds(literal: Literal): boolean {
  return (
    literal.data.kind === "numbers" &&
    literal.data.numbers instanceof Int32Array &&
    literal.data.numbers.some((number) => number === 2 ** 31 - 1 || number === -(2 ** 31))
  );
}
