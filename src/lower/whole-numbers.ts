import type { OpCall } from "../mil/op-call.ts";
import { boolLiteral } from "../mil/literal.ts";
import { literalOf } from "../mil/program.ts";
import type { Operand, Operation, Value } from "../mil/program.ts";
import { isFloat } from "../mil/types.ts";
import { EXACT_INTEGERS } from "./half-constants.ts";
import { integerBounds, keepsWhole } from "./integers.ts";
import type { Lowered } from "./lowered-value.ts";
import type { Bounds, Writer } from "./writer.ts";

interface WholeWriter extends Writer {
  /** A value as fp16 in its full shape. */
  whole(lowered: Lowered): Value;
}

/**
 * Bools and integers that are computed on the engine. Bools are results of comparisons, or 0 and 1 as fp16 where
 * somebody counts with them; integers are fp16 numbers without a fraction. Sums and products of integers are written
 * only where their bounds show that they are exact.
 */
export class WholeNumbers {
  readonly #lowering: WholeWriter;
  readonly #bounds = new Map<Value, Bounds>();
  readonly #whole = new Set<Value>();
  readonly #halves = new Map<Value, Value>();
  readonly #flags = new Map<Value, Value>();

  constructor(lowering: WholeWriter) {
    this.#lowering = lowering;
  }

  /** A value of the engine's function as fp16; floats are that already. */
  asHalf(value: Value): Value {
    const { type } = value;
    if (type.kind !== "tensor" || isFloat(type.dataType) || value.constant !== undefined)
      return value;
    const known = this.#halves.get(value);
    if (known !== undefined) return known;
    const half = this.#lowering.builder.op("cast", { x: value, dtype: "fp16" });
    this.#halves.set(value, half);
    return half;
  }

  /** An operand as the condition of a `select`. */
  asFlag(lowered: Lowered): Operand {
    const { builder } = this.#lowering;
    if (lowered.kind === "uniform") return boolLiteral(lowered.number !== 0);
    const isFlag = lowered.kind === "plain" && typeOf(lowered.value) === "bool";
    if (isFlag) return lowered.value;
    const value = this.#lowering.whole(lowered);
    const known = this.#flags.get(value);
    if (known !== undefined) return known;
    const flag = builder.op("greater", { x: value, y: 0.5 });
    this.#flags.set(value, flag);
    return flag;
  }

  /** Bounds of an operand of the plan's function; nothing where none are known. */
  boundsOf(operand: Operand): Bounds | undefined {
    const literal = literalOf(operand);
    if (literal?.data.kind === "numbers") {
      let lowest = Infinity;
      let highest = -Infinity;
      for (const number of literal.data.numbers) {
        lowest = Math.min(lowest, Number(number));
        highest = Math.max(highest, Number(number));
      }
      return [lowest, highest];
    }
    if (operand.type.kind === "tensor" && operand.type.dataType === "bool") return [0, 1];
    return operand.kind === "value" ? this.#bounds.get(operand) : undefined;
  }

  /** Bounds of an op's results. */
  resultBounds(call: OpCall, operation: Operation): Bounds | undefined {
    return integerBounds((operand) => this.boundsOf(operand), call, operation);
  }

  /** Whether an operand of the plan's function holds whole numbers, whatever its type. */
  areWhole(operand: Operand): boolean {
    if (operand.type.kind === "tensor" && !isFloat(operand.type.dataType)) return true;
    const literal = literalOf(operand);
    if (literal?.data.kind === "numbers")
      return Array.from(literal.data.numbers, Number).every((number) => Number.isInteger(number));
    return operand.kind === "value" && this.#whole.has(operand);
  }

  /** Remembers what is known of an op's results: whole numbers, and their bounds. */
  note(operation: Operation, bounds: Bounds | undefined): void {
    const isWhole = keepsWhole(operation, (operand) => this.areWhole(operand));
    for (const output of operation.outputs) {
      if (isWhole) this.#whole.add(output);
      if (bounds !== undefined && !this.#bounds.has(output)) this.#bounds.set(output, bounds);
    }
  }

  setBounds(value: Value | undefined, bounds: Bounds): void {
    if (value !== undefined) this.#bounds.set(value, bounds);
  }

  /** Throws for integers that the host would have to hand over as fp16 and that may not be exact then. */
  requireHalf(lowered: Lowered, operand: Operand, type: string): void {
    const bounds = this.boundsOf(operand);
    const isExact =
      bounds !== undefined && bounds[0] >= -EXACT_INTEGERS && bounds[1] <= EXACT_INTEGERS;
    if (lowered.kind !== "host" || isExact) return;
    throw this.#lowering.refuse(
      `${type} compares integers of the host with numbers of the engine, where they are exact up to ${EXACT_INTEGERS} only`,
    );
  }

  /** Throws where a result is not exact for sure. */
  requireExact({ type, outputs }: Operation, bounds: Bounds | undefined): void {
    const isExact =
      bounds !== undefined && bounds[0] >= -EXACT_INTEGERS && bounds[1] <= EXACT_INTEGERS;
    if (isExact) return;
    const reach =
      bounds === undefined ? "nothing bounds them" : `they reach from ${bounds[0]} to ${bounds[1]}`;
    throw this.#lowering.refuse(
      `${type} "${outputs[0]?.name ?? ""}" computes with integers, fp16 is exact up to ${EXACT_INTEGERS}, and ${reach}`,
    );
  }
}

function typeOf(value: Value): string | undefined {
  return value.type.kind === "tensor" ? value.type.dataType : undefined;
}
