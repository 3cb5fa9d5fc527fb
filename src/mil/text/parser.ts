import { didYouMean } from "../../util/nearest.ts";
import { namedValue } from "../program.ts";
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
import { CHARACTER, Scanner } from "./scanner.ts";
import { isTypeWord } from "./type-parser.ts";
import { ValueParser } from "./value-parser.ts";

/** How text is read. */
export interface ParseOptions {
  /** What the text is called in messages. */
  readonly fileName?: string;
}

/**
 * Reads MIL text of any dialect, as Apple's tools print it or as people write it. UTF-8 bytes or a string.
 * Throws `MilSyntaxError` with the place, the line and what was expected; names that no value has are errors,
 * rules of single ops are not checked here (see the verifier).
 */
export function parseProgram(text: string | Uint8Array, options: ParseOptions = {}): Program {
  return new ProgramParser(new Scanner(text, options.fileName ?? "program.mil")).program();
}

const NOTHING: ReadonlyMap<string, never> = new Map<string, never>();
const NO_VALUES: readonly Value[] = Object.freeze([]);
const NO_BLOCKS: readonly Block[] = Object.freeze([]);

/** Names that are searched for a near one. */
const NEAR_NAME_LIMIT = 2000;

/** Names that can be used at one point of a program: those of the block and of the blocks around it. */
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

class ProgramParser {
  readonly #scanner: Scanner;
  readonly #literals: ValueParser;

  constructor(scanner: Scanner) {
    this.#scanner = scanner;
    this.#literals = new ValueParser(scanner);
  }

  program(): Program {
    const scanner = this.#scanner;
    scanner.word("program");
    scanner.take(CHARACTER.open);
    const major = scanner.count("a version such as 1.3");
    scanner.take(CHARACTER.dot);
    const minor = scanner.count("a version such as 1.3");
    scanner.take(CHARACTER.close);
    const attributes = scanner.peek() === CHARACTER.openBracket ? this.#attributes() : NOTHING;
    scanner.take(CHARACTER.openBrace);
    const functions: MilFunction[] = [];
    const names = new Set<string>();
    while (scanner.peek() !== CHARACTER.closeBrace) {
      if (scanner.peekName() !== "func") throw scanner.expected('"func" or "}"');
      const start = scanner.position;
      const milFunction = this.#function();
      if (names.has(milFunction.name)) {
        throw scanner.error(start, `there is a function "${milFunction.name}" already`);
      }
      names.add(milFunction.name);
      functions.push(milFunction);
    }
    scanner.take(CHARACTER.closeBrace);
    if (scanner.peek() !== -1) throw scanner.expected("the end of the text");
    return Object.freeze({
      version: `${major}.${minor}`,
      attributes,
      functions: Object.freeze(functions),
    });
  }

  #function(): MilFunction {
    const scanner = this.#scanner;
    scanner.word("func");
    const name = scanner.name("the name of the function");
    const opset = this.#version();
    const scope = new Scope();
    const inputs = this.#parameters(scope);
    const attributes = scanner.peek() === CHARACTER.openBracket ? this.#attributes() : NOTHING;
    const { operations, outputs } = this.#body(scope);
    scanner.tryTake(CHARACTER.semicolon);
    return Object.freeze({ name, opset, inputs, operations, outputs, attributes });
  }

  /** `<ios18>` */
  #version(): string {
    const scanner = this.#scanner;
    scanner.take(CHARACTER.less);
    const version = scanner.name("an opset such as ios18");
    scanner.take(CHARACTER.greater);
    return version;
  }

  /** `(tensor<fp16, [1]> x, ...)` */
  #parameters(scope: Scope): readonly Value[] {
    const scanner = this.#scanner;
    scanner.take(CHARACTER.open);
    const values: Value[] = [];
    scanner.list(CHARACTER.close, () => values.push(this.#declaration(scope)));
    return Object.freeze(values);
  }

  #declaration(scope: Scope): Value {
    const type = this.#literals.types.type();
    const name = this.#newName(scope);
    const value = namedValue(name, type);
    scope.values.set(name, value);
    return value;
  }

  #newName(scope: Scope): string {
    const scanner = this.#scanner;
    const name = scanner.name("a name for the value");
    if (scope.values.has(name)) {
      throw scanner.error(
        scanner.position - name.length,
        `there is a value "${name}" already; a name is given once`,
      );
    }
    return name;
  }

  /** `{ operations } -> (names)` */
  #body(scope: Scope): Pick<Block, "operations" | "outputs"> {
    const scanner = this.#scanner;
    scanner.take(CHARACTER.openBrace);
    const operations: Operation[] = [];
    while (!scanner.tryTake(CHARACTER.closeBrace)) operations.push(this.#operation(scope));
    scanner.take(CHARACTER.minus, '"->" and the names of the outputs');
    scanner.take(CHARACTER.greater, '"->" and the names of the outputs');
    scanner.take(CHARACTER.open);
    const outputs: Value[] = [];
    scanner.list(CHARACTER.close, () => outputs.push(this.#reference(scope)));
    return { operations: Object.freeze(operations), outputs: Object.freeze(outputs) };
  }

  #operation(scope: Scope): Operation {
    const scanner = this.#scanner;
    scanner.peek();
    const start = scanner.position;
    const word = scanner.name('an operation or "}"');
    const next = scanner.peek();
    let type = word;
    let results = NO_VALUES;
    // A name and "(" are an operation without results; a type is followed by "<" or by a result's name.
    if (next !== CHARACTER.open && (isTypeWord(word) || this.#atMisspeltType(next))) {
      results = this.#results(scope, word, start);
      type = scanner.name("the name of an operation");
    }
    const opset = scanner.peek() === CHARACTER.less ? this.#version() : undefined;
    const inputs = this.#inputs(scope);
    const attributes = scanner.peek() === CHARACTER.openBracket ? this.#attributes() : NOTHING;
    let blocks = this.#blocks(scope, CHARACTER.comma);
    scanner.take(CHARACTER.semicolon, '";" after the operation');
    if (blocks.length === 0) blocks = this.#blocks(scope, CHARACTER.semicolon);
    const constant = type === "const" ? attributes.get("val") : undefined;
    const outputs = this.#defined(scope, results, constant);
    const operation = {
      type,
      inputs,
      outputs,
      blocks,
      attributes,
    };
    return Object.freeze(opset === undefined ? operation : { ...operation, opset });
  }

  /** `tensor<fp16, [1]> a, tensor<fp16, [1]> b =`, of which the first word is taken already. */
  #results(scope: Scope, word: string, start: number): readonly Value[] {
    const scanner = this.#scanner;
    const { types } = this.#literals;
    let type = types.typeAfter(word, start);
    const results: Value[] = [];
    for (;;) {
      results.push({ kind: "value", name: this.#newName(scope), type });
      if (!scanner.tryTake(CHARACTER.comma)) break;
      type = types.type();
    }
    scanner.take(CHARACTER.equals, '"," or "="');
    return results;
  }

  /** Makes an operation's results known, once its own inputs are read. */
  #defined(
    scope: Scope,
    results: readonly Value[],
    constant: Literal | undefined,
  ): readonly Value[] {
    if (results.length === 0) return NO_VALUES;
    const outputs: Value[] = [];
    for (const result of results) {
      const value = Object.freeze(constant === undefined ? result : { ...result, constant });
      if (results.length > 1 && scope.values.has(result.name)) {
        throw this.#scanner.error(
          this.#scanner.position - 1,
          `there is a value "${result.name}" already; a name is given once`,
        );
      }
      scope.values.set(result.name, value);
      outputs.push(value);
    }
    return Object.freeze(outputs);
  }

  /** Whether the name before `next` is followed by what only stands in a type, as in `tensr<fp16, [1]>`. */
  #atMisspeltType(next: number): boolean {
    if (next !== CHARACTER.less) return false;
    const scanner = this.#scanner;
    const start = scanner.position;
    scanner.take(CHARACTER.less);
    const inner = scanner.peekName();
    scanner.position = start;
    return inner !== undefined && isTypeWord(inner);
  }

  /** `(name = argument, ...)` */
  #inputs(scope: Scope): ReadonlyMap<string, Argument> {
    const scanner = this.#scanner;
    scanner.take(CHARACTER.open);
    if (scanner.tryTake(CHARACTER.close)) return NOTHING;
    const inputs = new Map<string, Argument>();
    let count = 0;
    scanner.list(CHARACTER.close, () => {
      const name = scanner.name("the name of a parameter");
      const end = scanner.position;
      scanner.take(CHARACTER.equals, '"=" and a value');
      inputs.set(name, this.#argument(scope));
      if (inputs.size === count) {
        throw scanner.error(end - name.length, `parameter "${name}" is given twice`);
      }
      count++;
    });
    return inputs;
  }

  #argument(scope: Scope): Argument {
    const scanner = this.#scanner;
    if (!scanner.tryTake(CHARACTER.open)) return this.#operand(scope);
    const operands: Operand[] = [];
    scanner.list(CHARACTER.close, () => operands.push(this.#operand(scope)));
    return Object.freeze(operands);
  }

  #operand(scope: Scope): Operand {
    const scanner = this.#scanner;
    scanner.peek();
    const start = scanner.position;
    const name = scanner.name("a value");
    if (isTypeWord(name)) {
      const next = scanner.peek();
      if (next === CHARACTER.open || next === CHARACTER.less) {
        scanner.position = start;
        return this.#literals.setting();
      }
    }
    return this.#named(name, start, scope);
  }

  #reference(scope: Scope): Value {
    const scanner = this.#scanner;
    scanner.peek();
    const start = scanner.position;
    return this.#named(scanner.name("a value"), start, scope);
  }

  #named(name: string, start: number, scope: Scope): Value {
    const value = scope.find(name);
    if (value !== undefined) return value;
    const known = [...scope.values.keys()].slice(-NEAR_NAME_LIMIT);
    throw this.#scanner.error(
      start,
      `there is no value "${name.slice(0, 80)}" here.${didYouMean(name, known)}`,
    );
  }

  /** `[name = value, ...]` */
  #attributes(): ReadonlyMap<string, Literal> {
    const scanner = this.#scanner;
    scanner.take(CHARACTER.openBracket);
    const attributes = new Map<string, Literal>();
    scanner.list(CHARACTER.closeBracket, () => {
      const name = scanner.name("the name of an attribute");
      if (attributes.has(name)) {
        throw scanner.error(scanner.position - name.length, `attribute "${name}" is given twice`);
      }
      scanner.take(CHARACTER.equals, '"=" and a value');
      // Names are given once, other attributes often stand in many ops.
      attributes.set(name, name === "name" ? this.#literals.literal() : this.#literals.setting());
    });
    return attributes;
  }

  /**
   * Nested blocks, each `(parameters) { operations } -> (names)` with the parameters where it has some. How Apple's
   * compiler spells them is not known: a name `block...` may stand in front, and they may follow the semicolon.
   */
  #blocks(scope: Scope, separator: number): readonly Block[] {
    const scanner = this.#scanner;
    const blocks: Block[] = [];
    for (;;) {
      if (this.#atBlockName()) scanner.name("a block");
      else if (separator === CHARACTER.semicolon) break;
      const next = scanner.peek();
      if (next !== CHARACTER.openBrace && next !== CHARACTER.open) break;
      blocks.push(scanner.deeper(() => this.#block(scope)));
      scanner.tryTake(separator);
    }
    return blocks.length === 0 ? NO_BLOCKS : Object.freeze(blocks);
  }

  #atBlockName(): boolean {
    const scanner = this.#scanner;
    const name = scanner.peekName();
    if (name === undefined || !/^block\d*$/.test(name)) return false;
    const next = scanner.peekAfterName();
    return next === CHARACTER.open || next === CHARACTER.openBrace;
  }

  #block(outer: Scope): Block {
    const scope = new Scope(outer);
    const inputs = this.#scanner.peek() === CHARACTER.open ? this.#parameters(scope) : NO_VALUES;
    return Object.freeze({ inputs, ...this.#body(scope) });
  }
}
