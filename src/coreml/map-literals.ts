import { mapInputs } from "../mil/program.ts";
import type { Block, Literal, MilFunction, Operation, Program, Value } from "../mil/program.ts";
import { carryOver } from "./carried.ts";

/** What a literal is part of. */
export interface LiteralPlace {
  readonly function: MilFunction;
  readonly operation: Operation;
  /** Name of the parameter or attribute. */
  readonly parameter: string;
}

/** What stands in a literal's place; the same literal where nothing changes. */
export type Replace = (literal: Literal, place: LiteralPlace) => Literal;

/**
 * A program in which every literal of an op's parameters and attributes is replaced by what `replace` returns for it.
 * Parts in which nothing changes are shared with the program that was given.
 */
export function mapLiterals(program: Program, replace: Replace): Program {
  const functions = program.functions.map((milFunction) => mapFunction(milFunction, replace));
  if (functions.every((milFunction, index) => milFunction === program.functions[index])) {
    return program;
  }
  const mapped: Program = Object.freeze({ ...program, functions: Object.freeze(functions) });
  carryOver(program, mapped);
  return mapped;
}

function mapFunction(milFunction: MilFunction, replace: Replace): MilFunction {
  const mapper = new FunctionMapper(milFunction, replace);
  const block = mapper.block(milFunction);
  if (block === milFunction) return milFunction;
  const mapped: MilFunction = Object.freeze({ ...milFunction, ...block });
  carryOver(milFunction, mapped);
  return mapped;
}

class FunctionMapper {
  readonly #function: MilFunction;
  readonly #replace: Replace;
  /** Values whose constant changed. */
  readonly #values = new Map<Value, Value>();

  constructor(milFunction: MilFunction, replace: Replace) {
    this.#function = milFunction;
    this.#replace = replace;
  }

  block(block: Block): Block {
    const operations = block.operations.map((operation) => this.#operation(operation));
    const outputs = block.outputs.map((value) => this.#values.get(value) ?? value);
    const isSame =
      operations.every((operation, index) => operation === block.operations[index]) &&
      outputs.every((value, index) => value === block.outputs[index]);
    if (isSame) return block;
    const mapped: Block = Object.freeze({
      ...block,
      operations: Object.freeze(operations),
      outputs: Object.freeze(outputs),
    });
    carryOver(block, mapped);
    return mapped;
  }

  #operation(operation: Operation): Operation {
    let isSame = true;
    const literal = (parameter: string, original: Literal): Literal => {
      const replaced = this.#replace(original, { function: this.#function, operation, parameter });
      if (replaced !== original) isSame = false;
      return replaced;
    };
    const attributes = new Map<string, Literal>();
    for (const [name, original] of inOrder(operation.attributes)) {
      attributes.set(name, literal(name, original));
    }
    const inputs = mapInputs({ inputs: new Map(inOrder(operation.inputs)) }, (original, name) => {
      if (original.kind === "literal") return literal(name, original);
      const replaced = this.#values.get(original);
      if (replaced === undefined) return original;
      isSame = false;
      return replaced;
    });
    const blocks = operation.blocks.map((block) => this.block(block));
    if (isSame && blocks.every((block, index) => block === operation.blocks[index])) {
      return operation;
    }
    const outputs = operation.outputs.map((value): Value => {
      if (value.constant === undefined) return value;
      const constant = attributes.get("val") ?? value.constant;
      if (constant === value.constant) return value;
      const replaced: Value = Object.freeze({ ...value, constant, type: value.type });
      carryOver(value, replaced);
      this.#values.set(value, replaced);
      return replaced;
    });
    const mapped: Operation = Object.freeze({
      ...operation,
      inputs,
      attributes,
      blocks: Object.freeze(blocks),
      outputs: Object.freeze(outputs),
    });
    carryOver(operation, mapped);
    return mapped;
  }
}

/** Entries by name, so that literals are met in the same order in equal programs. */
function inOrder<Item>(map: ReadonlyMap<string, Item>): (readonly [string, Item])[] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
}
