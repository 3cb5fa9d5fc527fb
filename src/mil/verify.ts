import { AnecdoteError, messageOf } from "../util/errors.ts";
import { didYouMean } from "../util/nearest.ts";
import { MilError } from "./errors.ts";
import { OpCall } from "./op-call.ts";
import { isConstexpr, opRow } from "./ops/index.ts";
import { typeFits } from "./ops/dimensions.ts";
import { literalOf, operandsOf } from "./program.ts";
import type { Block, MilFunction, Operation, Program, Value } from "./program.ts";
import { formatType, MAXIMUM_RANK, sameType } from "./types.ts";
import type { MilType } from "./types.ts";
import { checkOpsetRules } from "./verify-opset-rules.ts";
import { checkParameters } from "./verify-parameters.ts";

/** One rule of the language that a program breaks. */
export interface MilProblem {
  readonly code: string;
  readonly functionName: string;
  /** `conv -> "y"`: the op and its results; absent where the function itself is wrong. */
  readonly operation?: string;
  readonly message: string;
}

/** What the verifier found. */
export interface MilCheck {
  readonly problems: readonly MilProblem[];
  /** Ops outside the table, carried through unchecked; each name once, in order of appearance. */
  readonly unknownOps: readonly string[];
}

/** What a program that is right still has to be told of. */
export interface Verification {
  readonly unknownOps: readonly string[];
}

/** All that is wrong with a program, and the ops nobody knows. Throws nothing. */
export function checkProgram(program: Program): MilCheck {
  const checker = new Checker();
  const names = new Set<string>();
  for (const fn of program.functions) {
    if (names.has(fn.name)) {
      checker.report({ fn }, "mil.verify.name", `two functions are named "${fn.name}"`);
    }
    names.add(fn.name);
    checker.function(fn);
  }
  return checker.result();
}

/** Rules of the language that a function breaks; never throws. */
export function checkFunction(fn: MilFunction): MilCheck {
  const checker = new Checker();
  checker.function(fn);
  return checker.result();
}

/** Throws `MilError` with the first broken rules, naming op, inputs and rule; lists ops outside the table. */
export function verifyProgram(program: Program): Verification {
  return verified(checkProgram(program));
}

/** Throws `MilError` for the first rule of the language that a function breaks. */
export function verifyFunction(fn: MilFunction): Verification {
  return verified(checkFunction(fn));
}

const SHOWN_PROBLEMS = 5;

function verified({ problems, unknownOps }: MilCheck): Verification {
  const [first] = problems;
  if (first === undefined) return { unknownOps };
  const lines = problems.slice(0, SHOWN_PROBLEMS).map(formatProblem);
  const more = problems.length - lines.length;
  if (more > 0) lines.push(`and ${more} more`);
  throw new MilError(first.code, lines.join("\n"));
}

/** `function "main", conv -> "y": ...` */
export function formatProblem({ functionName, operation, message }: MilProblem): string {
  const place = operation === undefined ? "" : `, ${operation}`;
  return `function "${functionName}"${place}: ${message}`;
}

/** What is visible at one place of a block. */
interface Definition {
  readonly type: MilType;
  /** Known when the program is compiled: constants and what is computed from them alone. */
  readonly constant: boolean;
}

/** Names of one block, and of the blocks around it. */
class Scope {
  readonly depth: number;
  readonly #own = new Map<string, Definition>();
  readonly #outer: Scope | undefined;

  constructor(outer?: Scope) {
    this.#outer = outer;
    this.depth = outer === undefined ? 0 : outer.depth + 1;
  }

  get(name: string): Definition | undefined {
    return this.#own.get(name) ?? this.#outer?.get(name);
  }

  set(name: string, definition: Definition): void {
    this.#own.set(name, definition);
  }

  *names(): Generator<string> {
    yield* this.#own.keys();
    if (this.#outer !== undefined) yield* this.#outer.names();
  }
}

/** Blocks in blocks beyond this are refused: no model has them, and the stack is finite. */
const MAXIMUM_DEPTH = 100;

/** Looking for a similar name takes time, so only the first problems get one. */
const SUGGESTIONS = 20;

/** Where the checker stands: in a function, at one of its ops or at what it takes and returns. */
interface Place {
  readonly fn: MilFunction;
  readonly operation?: Operation;
}

type OperationPlace = Required<Place>;

class Checker {
  readonly #problems: MilProblem[] = [];
  readonly #unknownOps = new Set<string>();

  result(): MilCheck {
    return { problems: this.#problems, unknownOps: [...this.#unknownOps] };
  }

  report({ fn, operation }: Place, code: string, message: string): void {
    this.#problems.push({
      code,
      functionName: fn.name,
      ...(operation !== undefined && { operation: placeOf(operation) }),
      message,
    });
  }

  function(fn: MilFunction): void {
    this.#block(fn, fn, new Scope());
  }

  #block(fn: MilFunction, block: Block, scope: Scope): void {
    if (scope.depth > MAXIMUM_DEPTH) {
      const message = `blocks are nested more than ${MAXIMUM_DEPTH} deep`;
      this.report({ fn }, "mil.verify.depth", message);
      return;
    }
    for (const input of block.inputs) this.#define({ fn }, input, scope, false);
    for (const operation of block.operations) this.#operation(fn, operation, scope);
    for (const output of block.outputs) this.#use({ fn }, output, scope, "output");
  }

  #define(place: Place, value: Value, scope: Scope, constant: boolean): void {
    if (scope.get(value.name) !== undefined) {
      this.report(
        place,
        "mil.verify.name",
        `the name "${value.name}" is taken already; every value needs its own`,
      );
    }
    scope.set(value.name, { type: value.type, constant });
  }

  #use(place: Place, value: Value, scope: Scope, parameter: string): void {
    const definition = scope.get(value.name);
    if (definition === undefined) {
      const hint = this.#problems.length < SUGGESTIONS ? didYouMean(value.name, scope.names()) : "";
      this.report(
        place,
        "mil.verify.undefined",
        `${parameter} "${value.name}" is not defined before this place.${hint}`,
      );
    } else if (!sameType(definition.type, value.type)) {
      this.report(
        place,
        "mil.verify.type",
        `${parameter} "${value.name}" is ${formatType(definition.type)}, used as ${formatType(value.type)}`,
      );
    }
  }

  #operation(fn: MilFunction, operation: Operation, scope: Scope): void {
    const place = { fn, operation };
    for (const [name, argument] of operation.inputs) {
      for (const operand of Array.isArray(argument) ? argument : [argument]) {
        if (operand.kind === "value") this.#use(place, operand, scope, `parameter "${name}":`);
      }
    }
    for (const block of operation.blocks) this.#block(fn, block, new Scope(scope));
    const constant = isConstant(operation, scope);
    if (operation.type === "const") this.#const(place);
    else this.#typed(place, scope);
    for (const output of operation.outputs) {
      this.#define(place, output, scope, constant);
      if (!constant) this.#rank(place, output);
    }
  }

  #rank(place: Place, { name, type }: Value): void {
    if (type.kind !== "tensor" || type.shape.length <= MAXIMUM_RANK) return;
    this.report(
      place,
      "mil.verify.rank",
      `"${name}" has rank ${type.shape.length}; Core ML takes at most ${MAXIMUM_RANK}`,
    );
  }

  #const(place: OperationPlace): void {
    const { operation } = place;
    const [output, ...rest] = operation.outputs;
    const literal = operation.attributes.get("val") ?? output?.constant;
    if (output === undefined || rest.length > 0) {
      this.report(place, "mil.verify.results", "const has one result");
    } else if (literal === undefined) {
      this.report(place, "mil.verify.const", 'const needs the attribute "val"');
    } else if (!typeFits(literal.type, output.type)) {
      this.report(
        place,
        "mil.verify.type",
        `the value is ${formatType(literal.type)}, "${output.name}" is declared ${formatType(output.type)}`,
      );
    }
  }

  #typed(place: OperationPlace, scope: Scope): void {
    const { fn, operation } = place;
    const row = opRow(operation.type);
    if (row === undefined) {
      this.#unknownOps.add(operation.type);
      return;
    }
    const problems = checkParameters(operation, row, operation.opset ?? fn.opset, (operand) =>
      operand.kind === "literal" || literalOf(operand) !== undefined
        ? true
        : scope.get(operand.name)?.constant === true,
    );
    for (const { code, message } of problems) this.report(place, code, message);
    if (problems.length > 0) return;
    try {
      const call = new OpCall(operation, row);
      checkOpsetRules(call, operation.opset ?? fn.opset);
      this.#results(place, row.infer(call));
    } catch (error) {
      const code = error instanceof AnecdoteError ? error.code : "mil.verify.internal";
      this.report(place, code, messageOf(error));
    }
  }

  #results(place: OperationPlace, inferred: readonly MilType[]): void {
    const { type, outputs } = place.operation;
    if (inferred.length !== outputs.length) {
      this.report(
        place,
        "mil.verify.results",
        `${type} has ${inferred.length} results, ${outputs.length} are declared`,
      );
      return;
    }
    outputs.forEach((output, index) => {
      const found = inferred[index];
      if (found !== undefined && !typeFits(found, output.type)) {
        this.report(
          place,
          "mil.verify.type",
          `the result is ${formatType(found)}, "${output.name}" is declared ${formatType(output.type)}`,
        );
      }
    });
  }
}

/** `conv -> "y"`: an op and its results. */
export function placeOf(operation: Operation): string {
  const results = operation.outputs.map(({ name }) => `"${name}"`).join(", ");
  return results === "" ? operation.type : `${operation.type} -> ${results}`;
}

/** Constants, `constexpr_*` ops, and ops of the table that take constants only. */
function isConstant(operation: Operation, scope: Scope): boolean {
  if (operation.type === "const" || isConstexpr(operation.type)) return true;
  const row = opRow(operation.type);
  if (row === undefined || row.impure === true || operation.blocks.length > 0) return false;
  if (operation.inputs.size === 0) return false;
  return [...operandsOf(operation)].every(
    (operand) => operand.kind === "literal" || scope.get(operand.name)?.constant === true,
  );
}
