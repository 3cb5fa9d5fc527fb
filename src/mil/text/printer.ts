import { MilError } from "../errors.ts";
import { stringLiteral } from "../literal.ts";
import { isOperandList, namesIn } from "../program.ts";
import type {
  Argument,
  Block,
  Literal,
  MilFunction,
  Operand,
  Operation,
  Program,
  Value,
} from "../program.ts";
import type { MilType } from "../types.ts";
import { escapeString, LiteralPrinter } from "./literal-printer.ts";

/** How a program is printed. */
export interface PrintOptions {
  /** Dialect to print in; the program's own when left out. From 1.3 on scalars are written `int32(1)`. */
  readonly version?: string;
  /**
   * What Apple's runtime insists on: dialect 1.3, a `buildInfo` header and a `name` on every operation
   * (facts: ane-e5rt 1.5).
   */
  readonly forRuntime?: boolean;
}

/** The pair of compiler versions that the runtime was seen to accept on macOS 15.6 to 27 (facts: ane-e5rt 1.5). */
export const RUNTIME_BUILD_INFO: readonly (readonly [string, string])[] = [
  ["coremlc-component-MIL", "3520.4.1"],
  ["coremlc-version", "3520.5.1"],
];

/**
 * A program as MIL text, laid out as Apple's compiler lays it out: arguments and attributes sorted by name,
 * operations indented by twelve blanks, the last brace without a newline from dialect 1.3 on.
 * Throws `MilError` for a parameter or attribute whose name the language cannot spell.
 */
export function printProgram(program: Program, options: PrintOptions = {}): string {
  return new ProgramPrinter(program, options).print();
}

/** A type as it stands in the text: `tensor<fp16, [1, 8]>`, `int32` (in dialect 1.0 `tensor<int32, []>`). */
export function printType(type: MilType, version = "1.3"): string {
  return new LiteralPrinter(version).type(type);
}

/** A literal with its type: `tensor<int32, [2]>([1, 1])`. */
export function printLiteral(literal: Literal, version = "1.3"): string {
  return new LiteralPrinter(version).literal(literal);
}

const IDENTIFIER = /^[A-Za-z_][A-Za-z0-9_@]*$/;

class ProgramPrinter {
  readonly #program: Program;
  readonly #forRuntime: boolean;
  readonly #version: string;
  readonly #literals: LiteralPrinter;
  #names: ValueNames;

  constructor(program: Program, options: PrintOptions) {
    this.#program = program;
    this.#forRuntime = options.forRuntime ?? false;
    this.#version = this.#forRuntime ? "1.3" : (options.version ?? program.version);
    this.#literals = new LiteralPrinter(this.#version);
    this.#names = new ValueNames(undefined);
  }

  print(): string {
    let text = `program(${this.#version})\n`;
    const attributes = this.#programAttributes();
    if (attributes !== "") text += `[${attributes}]\n`;
    text += "{\n";
    for (const milFunction of this.#program.functions) text += this.#function(milFunction);
    return this.#literals.compactScalars ? `${text}}` : `${text}}\n`;
  }

  #programAttributes(): string {
    const written = this.#entries(this.#program.attributes);
    if (this.#forRuntime && !this.#program.attributes.has("buildInfo")) {
      const pairs = RUNTIME_BUILD_INFO.map(([key, value]) => `{"${key}", "${value}"}`).join(", ");
      written.push(["buildInfo", `dict<string, string>({${pairs}})`]);
    }
    return joinEntries(written);
  }

  #function(milFunction: MilFunction): string {
    this.#names = new ValueNames(milFunction);
    const inputs = this.#parameters(milFunction.inputs);
    const attributes = joinEntries(this.#entries(milFunction.attributes));
    const header = attributes === "" ? "" : ` [${attributes}]`;
    const name = checkedName(milFunction.name, "function");
    let text = `    func ${name}<${milFunction.opset}>(${inputs})${header} {\n`;
    for (const operation of milFunction.operations) {
      text += this.#operation(operation, "            ");
    }
    return `${text}        } -> (${this.#valueNames(milFunction.outputs)});\n`;
  }

  #parameters(values: readonly Value[]): string {
    return values
      .map((value) => `${this.#literals.type(value.type)} ${this.#names.of(value)}`)
      .join(", ");
  }

  #valueNames(values: readonly Value[]): string {
    return values.map((value) => this.#names.of(value)).join(", ");
  }

  #operation(operation: Operation, indent: string): string {
    const results =
      operation.outputs.length === 0 ? "" : `${this.#parameters(operation.outputs)} = `;
    const version = operation.opset === undefined ? "" : `<${operation.opset}>`;
    const name = checkedName(operation.type, "operation");
    const inputs: [string, string][] = [];
    for (const [parameter, argument] of operation.inputs) {
      inputs.push([checkedName(parameter, "parameter"), this.#argument(argument)]);
    }
    const written = this.#entries(operation.attributes);
    if (this.#forRuntime && !operation.attributes.has("name")) {
      written.push(["name", this.#literals.literal(stringLiteral(this.#nameFor(operation)))]);
    }
    const attributes = written.length === 0 ? "" : `[${joinEntries(written)}]`;
    const blocks = operation.blocks.map((block) => this.#block(block, indent)).join(",");
    return `${indent}${results}${name}${version}(${joinEntries(inputs)})${attributes}${blocks};\n`;
  }

  /** A nested block of `cond` or `while_loop`, spelt as a function's body is. */
  #block(block: Block, indent: string): string {
    const inputs = block.inputs.length === 0 ? "" : ` (${this.#parameters(block.inputs)})`;
    let text = `${inputs} {\n`;
    for (const operation of block.operations)
      text += this.#operation(operation, `${indent}        `);
    return `${text}${indent}    } -> (${this.#valueNames(block.outputs)})`;
  }

  #nameFor(operation: Operation): string {
    const [first] = operation.outputs;
    if (first !== undefined) return this.#names.of(first);
    return this.#names.fresh(operation.type);
  }

  #argument(argument: Argument): string {
    return isOperandList(argument)
      ? `(${argument.map((operand) => this.#operand(operand)).join(", ")})`
      : this.#operand(argument);
  }

  #operand(operand: Operand): string {
    return operand.kind === "value" ? this.#names.of(operand) : this.#literals.literal(operand);
  }

  #entries(literals: ReadonlyMap<string, Literal>): [string, string][] {
    return Array.from(literals, ([name, literal]) => [
      checkedName(name, "attribute"),
      this.#literals.literal(literal),
    ]);
  }
}

function joinEntries(entries: readonly (readonly [string, string])[]): string {
  const isSorted = entries.every(
    ([name], index) => index === 0 || (entries[index - 1]?.[0] ?? "") < name,
  );
  const sorted = isSorted ? entries : entries.toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  let joined = "";
  for (const [name, text] of sorted) joined += `${joined === "" ? "" : ", "}${name} = ${text}`;
  return joined;
}

function checkedName(name: string, what: string): string {
  if (IDENTIFIER.test(name)) return name;
  throw new MilError(
    "mil.print.name",
    `the ${what} name "${escapeString(name)}" cannot be written in MIL text`,
    { remedy: "Names are a letter or underscore, then letters, digits, underscores and @." },
  );
}

/** Names of one function's values; those that the language cannot spell are replaced by near ones, all distinct. */
class ValueNames {
  readonly #function: MilFunction | undefined;
  readonly #replaced = new Map<string, string>();
  #taken: Set<string> | undefined;

  constructor(milFunction: MilFunction | undefined) {
    this.#function = milFunction;
  }

  of(value: Value): string {
    const { name } = value;
    if (IDENTIFIER.test(name)) return name;
    let replacement = this.#replaced.get(name);
    if (replacement === undefined) {
      const spelt = name.replaceAll(/[^A-Za-z0-9_@]/g, "_");
      replacement = this.fresh(/^[A-Za-z_]/.test(spelt) ? spelt : `_${spelt}`);
      this.#replaced.set(name, replacement);
    }
    return replacement;
  }

  /** `base`, or `base_2`, `base_3`, ... when it is the name of something else. */
  fresh(base: string): string {
    this.#taken ??= this.#function === undefined ? new Set() : namesIn(this.#function);
    let name = base;
    for (let count = 2; this.#taken.has(name); count++) name = `${base}_${count}`;
    this.#taken.add(name);
    return name;
  }
}
