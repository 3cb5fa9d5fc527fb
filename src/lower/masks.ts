import { operandsIn } from "../mil/program.ts";
import { tensorLiteral } from "../mil/literal.ts";
import type { Literal, MilFunction, Operation, Value } from "../mil/program.ts";
import { isFloat, staticShape } from "../mil/types.ts";
import { isBeyondHalf, numbersOf, someNumber } from "./half-constants.ts";

/** What stands for a number far below all others: nothing of it is left after an exponential. */
export const FAR_BELOW = -30_000;

/** Where ops take a number that is far below: what comes out is the same for -30000 and -1e9. */
const ABSORBING: Readonly<Record<string, string>> = {
  softmax: "x",
  reduce_log_sum_exp: "x",
  reduce_max: "x",
  scaled_dot_product_attention: "attn_mask",
  exp: "x",
  exp2: "x",
  sigmoid: "x",
  tanh: "x",
  erf: "x",
  relu: "x",
  relu6: "x",
  softplus: "x",
};

/** Ops that pass such a number on, and through which operands. */
const PASSING: Readonly<Record<string, readonly string[]>> = {
  add: ["x", "y"],
  sub: ["x"],
  select: ["a", "b"],
  reshape: ["x"],
  expand_dims: ["x"],
  squeeze: ["x"],
  transpose: ["x"],
  identity: ["x"],
  tile: ["x"],
  pad: ["x"],
  concat: ["values"],
  stack: ["values"],
  split: ["x"],
  slice_by_index: ["x"],
  slice_by_size: ["x"],
};

/**
 * Finds values that are read by nothing but ops which absorb numbers far below all others, as scores with a mask
 * are. There, and nowhere else, a number below fp16's range may be replaced by one that is not.
 */
export class Masks {
  readonly #absorbed = new Set<Value>();

  constructor(fn: MilFunction) {
    const reads = new Map<Value, boolean>();
    const note = (value: Value, isAbsorbed: boolean): void => {
      reads.set(value, (reads.get(value) ?? true) && isAbsorbed);
    };
    for (const output of fn.outputs) note(output, false);
    for (const operation of fn.operations.toReversed()) {
      if (operation.outputs.length > 0 && operation.outputs.every((value) => reads.get(value)))
        for (const output of operation.outputs) this.#absorbed.add(output);
      for (const [name, argument] of operation.inputs) {
        for (const operand of operandsIn(argument))
          if (operand.kind === "value") note(operand, this.#takes(operation, name));
      }
    }
  }

  #takes(operation: Operation, parameter: string): boolean {
    const { type } = operation;
    if (Object.hasOwn(ABSORBING, type) && ABSORBING[type] === parameter) return true;
    const passes = Object.hasOwn(PASSING, type) && PASSING[type]?.includes(parameter) === true;
    if (type === "cast") {
      const [output] = operation.outputs;
      const toFloat = output?.type.kind === "tensor" && isFloat(output.type.dataType);
      return toFloat && this.#isAbsorbed(operation);
    }
    return passes && this.#isAbsorbed(operation);
  }

  #isAbsorbed({ outputs }: Operation): boolean {
    return outputs.length > 0 && outputs.every((output) => this.#absorbed.has(output));
  }

  /** Whether all that reads an op's results absorbs what is far below. */
  absorb({ outputs }: Pick<Operation, "outputs">): boolean {
    return outputs.length > 0 && outputs.every((output) => this.#absorbed.has(output));
  }
}

/** A mask is read by every function of a model: it is made once. */
const masks = new WeakMap<Literal, Literal | "none">();

/** A constant with numbers beyond fp16 that all lie below it, as a mask: those become -30000. */
export function maskOf(literal: Literal): Literal | undefined {
  const known = masks.get(literal) ?? madeMask(literal) ?? "none";
  masks.set(literal, known);
  return known === "none" ? undefined : known;
}

function madeMask(literal: Literal): Literal | undefined {
  const given = numbersOf(literal);
  if (given === undefined || literal.type.kind !== "tensor") return undefined;
  if (!someNumber(literal, isBeyondHalf)) return undefined;
  const numbers = new Float64Array(given.length);
  for (let index = 0; index < numbers.length; index++) {
    const number = Number(given[index]);
    if (!isBeyondHalf(number)) numbers[index] = number;
    else if (number > 0) return undefined;
    else numbers[index] = FAR_BELOW;
  }
  return tensorLiteral(literal.type.dataType, staticShape(literal.type), numbers);
}
