import { nearestName } from "../util/nearest.ts";
import { messageOf } from "../util/errors.ts";
import { namedValue } from "../mil/program.ts";
import type {
  Argument,
  Block,
  Literal,
  MilFunction,
  Operand,
  Operation,
  Program,
  Value,
} from "../mil/program.ts";
import type { MilType } from "../mil/types.ts";
import { carry } from "./carried.ts";
import { CoreMlError } from "./errors.ts";
import type {
  ArgumentEntry,
  Block as BlockMessage,
  Function as FunctionMessage,
  NamedValueType,
  Operation as OperationMessage,
  Program as ProgramMessage,
  ValueEntry,
} from "./generated/mil_pb.ts";
import { opsetFromModel } from "./opset-names.ts";
import { readType } from "./type-message.ts";
import { readValue } from "./value-message.ts";

/**
 * A program from its message, with every op, attribute and type it has; what the program cannot express is carried
 * along and written back by `writeProgram`. Throws `CoreMlError` naming function, op and rule.
 */
export function readProgram(message: ProgramMessage): Program {
  return new ProgramReader().program(message);
}

class Scope {
  readonly values = new Map<string, Value>();
  readonly #outer: Scope | undefined;

  constructor(outer?: Scope) {
    this.#outer = outer;
  }

  find(name: string): Value | undefined {
    return this.values.get(name) ?? this.#outer?.find(name);
  }
}

class ProgramReader {
  /** Where the reader is, for messages. */
  #where = "the program";

  program(message: ProgramMessage): Program {
    try {
      const program: Program = Object.freeze({
        version: "1.3",
        attributes: this.#literals(message.attributes),
        functions: Object.freeze(
          message.functions
            .map(({ key, value }) => {
              this.#where = `function "${key}"`;
              if (value === undefined) throw this.#error("function", "is empty");
              return this.#function(key, value);
            })
            .toSorted(byFunctionName),
        ),
      });
      const names = new Set(program.functions.map(({ name }) => name));
      if (names.size !== program.functions.length) {
        this.#where = "the program";
        throw this.#error("function", "has two functions of one name");
      }
      carry(program, {
        unknown: message.$unknown,
        fields: {
          ...(message.docString !== "" && { docString: message.docString }),
          ...(message.version !== 1n && { version: message.version }),
        },
      });
      return program;
    } catch (error) {
      if (error instanceof CoreMlError && error.message.startsWith(this.#where)) throw error;
      const code = error instanceof CoreMlError ? error.code : "coreml.program";
      throw new CoreMlError(code, `${this.#where}: ${messageOf(error)}`, { cause: error });
    }
  }

  #function(name: string, message: FunctionMessage): MilFunction {
    const { blockSpecializations } = message;
    const chosen =
      blockSpecializations.find(({ key }) => key === message.opset) ??
      (blockSpecializations.length === 1 ? blockSpecializations[0] : undefined);
    const block = chosen?.value;
    if (block === undefined) {
      const keys = blockSpecializations.map(({ key }) => key).join(", ");
      throw this.#error(
        "opset",
        `has no body for its opset ${message.opset}; it has ${keys === "" ? "none" : keys}`,
      );
    }
    const scope = new Scope();
    const inputs = message.inputs.map((input) => this.#declare(input, scope));
    const where = this.#where;
    const operations = block.operations.map((operation, index) => {
      this.#where = `${where}, op ${index} (${operation.type})`;
      return this.#operation(operation, scope);
    });
    this.#where = where;
    const milFunction: MilFunction = Object.freeze({
      name,
      opset: opsetFromModel(message.opset),
      inputs: Object.freeze(inputs),
      operations: Object.freeze(operations),
      outputs: Object.freeze(block.outputs.map((output) => this.#reference(output, scope))),
      attributes: this.#literals(message.attributes),
    });
    carry(milFunction, {
      unknown: message.$unknown,
      fields: {
        ...(blockSpecializations.length > 1 && {
          otherBlocks: blockSpecializations.filter((entry) => entry !== chosen),
        }),
        ...this.#blockExtras(block),
        ...(block.inputs.length > 0 && { blockInputs: block.inputs }),
        ...(chosen?.key !== message.opset && { blockKey: chosen?.key }),
      },
    });
    return milFunction;
  }

  #blockExtras(block: BlockMessage): Record<string, unknown> {
    return {
      ...(block.attributes.length > 0 && { blockAttributes: block.attributes }),
      ...(block.$unknown !== undefined && { blockUnknown: block.$unknown }),
    };
  }

  #declare(message: NamedValueType, scope: Scope, constant?: Literal): Value {
    let type: MilType;
    try {
      type = readType(message.type);
    } catch (error) {
      throw this.#error("type", `value "${message.name}": ${messageOf(error)}`);
    }
    if (scope.values.has(message.name)) {
      throw this.#error("name", `there are two values named "${message.name}"`);
    }
    const { name } = message;
    const value = namedValue(name, type, constant);
    carry(value, { unknown: message.$unknown });
    scope.values.set(name, value);
    return value;
  }

  #operation(message: OperationMessage, scope: Scope): Operation {
    const versioned = /^(.+)<([A-Za-z0-9_]+)>$/.exec(message.type);
    const type = versioned?.[1] ?? message.type;
    const opset = versioned?.[2];
    const attributes = this.#literals(message.attributes);
    const inputs = this.#inputs(message.inputs, scope);
    const where = this.#where;
    const blocks = message.blocks.map((block) => this.#block(block, scope));
    this.#where = where;
    const constant = type === "const" ? attributes.get("val") : undefined;
    const operation: Operation = Object.freeze({
      type,
      inputs,
      outputs: Object.freeze(
        message.outputs.map((output) => this.#declare(output, scope, constant)),
      ),
      blocks: Object.freeze(blocks),
      attributes,
      ...(opset !== undefined && { opset }),
    });
    carry(operation, { unknown: message.$unknown });
    return operation;
  }

  #block(message: BlockMessage, outer: Scope): Block {
    const scope = new Scope(outer);
    const inputs = message.inputs.map((input) => this.#declare(input, scope));
    const where = this.#where;
    const operations = message.operations.map((operation, index) => {
      this.#where = `${where}, op ${index} (${operation.type})`;
      return this.#operation(operation, scope);
    });
    this.#where = where;
    const block: Block = Object.freeze({
      inputs: Object.freeze(inputs),
      operations: Object.freeze(operations),
      outputs: Object.freeze(message.outputs.map((output) => this.#reference(output, scope))),
    });
    carry(block, { fields: this.#blockExtras(message) });
    return block;
  }

  #inputs(entries: readonly ArgumentEntry[], scope: Scope): ReadonlyMap<string, Argument> {
    const inputs = new Map<string, Argument>();
    for (const { key, value } of entries) {
      const operands = (value?.arguments ?? []).map(({ binding }): Operand => {
        if (binding.case === "name") return this.#reference(binding.value, scope);
        if (binding.case === "value") return this.#literal(`parameter "${key}"`, binding.value);
        throw this.#error("argument", `parameter "${key}" has an empty argument`);
      });
      const [first] = operands;
      inputs.set(
        key,
        first !== undefined && operands.length === 1 ? first : Object.freeze(operands),
      );
    }
    return inputs;
  }

  #reference(name: string, scope: Scope): Value {
    const value = scope.find(name);
    if (value !== undefined) return value;
    const near = nearestName(name, [...scope.values.keys()].slice(-2000));
    throw this.#error(
      "name",
      `there is no value "${name}"${near === undefined ? "" : `; the nearest is "${near}"`}`,
    );
  }

  #literals(entries: readonly ValueEntry[]): ReadonlyMap<string, Literal> {
    const literals = new Map<string, Literal>();
    for (const { key, value } of entries) {
      literals.set(key, this.#literal(`attribute "${key}"`, value));
    }
    return literals;
  }

  #literal(what: string, message: Parameters<typeof readValue>[0]): Literal {
    try {
      return readValue(message);
    } catch (error) {
      throw this.#error("value", `${what}: ${messageOf(error)}`);
    }
  }

  #error(code: string, problem: string): CoreMlError {
    return new CoreMlError(`coreml.program.${code}`, `${this.#where}: ${problem}`);
  }
}

/** A model's functions have no order; `main` comes first, the others by name. */
function byFunctionName(a: MilFunction, b: MilFunction): number {
  if (a.name === "main" || b.name === "main") return a.name === "main" ? -1 : 1;
  return a.name < b.name ? -1 : 1;
}
