import { assembleFunction } from "../mil/assemble.ts";
import { FunctionBuilder, freezeOperation } from "../mil/builder.ts";
import { OpCall } from "../mil/op-call.ts";
import type { OpRow } from "../mil/op-row.ts";
import { opRow } from "../mil/ops/index.ts";
import { OPSETS } from "../mil/program.ts";
import type { Literal, MilFunction, Operand, Operation, Value } from "../mil/program.ts";
import { replaceOperands, valuesReadBy } from "../mil/traverse.ts";
import { formatType, sameType } from "../mil/types.ts";
import type { MilType } from "../mil/types.ts";
import { removeDeadCode } from "./dead-code.ts";
import { PassError } from "./errors.ts";

/** Every pass: a function in, one that computes the same out. */
export type Pass = (fn: MilFunction) => MilFunction;

/** What a rule may look at and write with. */
export interface RewriteContext {
  /** Writes new ops in front of the one that is looked at. */
  readonly emit: FunctionBuilder;
  /** The op's settings as plain values. */
  readonly call: OpCall;
  /** The op that makes a value; nothing for inputs and literals. */
  readonly makerOf: (operand: Operand | undefined, type?: string) => Operation | undefined;
  /** Whether the value is read once only, so that its maker disappears with that read. */
  readonly isReadOnce: (operand: Operand) => boolean;
  readonly readCount: (operand: Operand) => number;
  readonly isInput: (value: Value) => boolean;
  readonly isOutput: (value: Value) => boolean;
}

/** For `const` and for ops outside the table, which have no settings to read. */
const NO_ROW: OpRow = {
  kind: "costly",
  parameters: {},
  since: "ios13",
  infer: () => [],
  flops: () => 0,
};

/** What takes the place of an op's results, or nothing where the rule does not apply. */
export type RewriteRule = (
  operation: Operation,
  context: RewriteContext,
) => Value | readonly Value[] | undefined;

/** Rounds after which a pass that still finds something to do counts as broken. */
const ROUND_LIMIT = 100;

/** A pass that applies a rule to op after op until it fits nowhere any more. */
export function rewriting(name: string, rule: RewriteRule): Pass {
  return (fn) => {
    let current = removeDeadCode(fn);
    for (let round = 0; round < ROUND_LIMIT; round++) {
      const next = new Rewriting(name, current).apply(rule);
      if (next === undefined) return current;
      current = removeDeadCode(next);
    }
    throw new PassError(
      "pass.endless",
      `pass "${name}" still changes "${fn.name}" after ${ROUND_LIMIT} rounds`,
    );
  };
}

/** A pass whose rule remembers what it has seen in one walk; it is made anew for every function. */
export function rewritingOnce(name: string, makeRule: () => RewriteRule): Pass {
  return (fn) => {
    const live = removeDeadCode(fn);
    const next = new Rewriting(name, live).apply(makeRule());
    return next === undefined ? live : removeDeadCode(next);
  };
}

/** Records what is written, in order, and names it after the op it stands for. */
class RecordingBuilder extends FunctionBuilder {
  readonly written: Operation[] = [];
  baseName = "value";

  override append(
    operation: Omit<Operation, "outputs">,
    name?: string,
    types?: readonly MilType[],
  ): readonly Value[] {
    return super.append(operation, name ?? this.baseName, types);
  }

  override constant(literal: Literal, name?: string): Value {
    return super.constant(literal, name ?? this.baseName);
  }

  protected override push(operation: Operation): void {
    super.push(operation);
    this.written.push(freezeOperation(operation));
  }
}

/** One walk over a function. */
class Rewriting {
  readonly #name: string;
  readonly #fn: MilFunction;
  readonly #emit: RecordingBuilder;
  readonly #makers = new Map<Value, Operation>();
  readonly #reads = new Map<Value, number>();
  readonly #replaced = new Map<Value, Value>();
  readonly #inputs: ReadonlySet<Value>;
  readonly #outputs: ReadonlySet<Value>;

  constructor(name: string, fn: MilFunction) {
    this.#name = name;
    this.#fn = fn;
    this.#emit = new RecordingBuilder(
      fn.name,
      OPSETS.find((opset) => opset === fn.opset) ?? "ios18",
    );
    this.#inputs = new Set(fn.inputs);
    this.#outputs = new Set(fn.outputs);
    for (const operation of fn.operations) {
      for (const value of valuesReadBy(operation)) this.#count(value, 1);
    }
    for (const output of fn.outputs) this.#count(output, 1);
  }

  /** The rewritten function, or nothing when the rule fits nowhere. */
  apply(rule: RewriteRule): MilFunction | undefined {
    const operations: Operation[] = [];
    let changed = false;
    for (const original of this.#fn.operations) {
      const operation = replaceOperands(original, (operand) => this.#current(operand));
      const start = this.#emit.written.length;
      const results = this.#try(rule, operation);
      if (results === undefined) {
        // What a rule wrote before it gave up is dropped.
        this.#emit.written.length = start;
        operations.push(operation);
        for (const output of operation.outputs) this.#makers.set(output, operation);
        continue;
      }
      changed = true;
      this.#check(operation, results);
      for (const value of valuesReadBy(operation)) this.#count(value, -1);
      for (const written of this.#emit.written.slice(start)) {
        operations.push(written);
        for (const output of written.outputs) this.#makers.set(output, written);
        for (const value of valuesReadBy(written)) this.#count(value, 1);
      }
      original.outputs.forEach((output, index) => {
        const result = results[index];
        if (result === undefined) return;
        this.#replaced.set(output, result);
        this.#count(result, this.#reads.get(output) ?? 0);
      });
    }
    if (!changed) return undefined;
    return assembleFunction({
      ...this.#fn,
      operations,
      outputs: this.#fn.outputs.map((output) => [
        output.name,
        this.#replaced.get(output) ?? output,
      ]),
    });
  }

  #try(rule: RewriteRule, operation: Operation): readonly Value[] | undefined {
    const row = opRow(operation.type);
    this.#emit.baseName = operation.outputs[0]?.name ?? operation.type;
    const result = rule(operation, {
      emit: this.#emit,
      call: new OpCall(operation, row ?? NO_ROW),
      makerOf: (operand, type) => {
        const maker = operand?.kind === "value" ? this.#makers.get(operand) : undefined;
        return type === undefined || maker?.type === type ? maker : undefined;
      },
      isReadOnce: (operand) => operand.kind === "value" && this.#reads.get(operand) === 1,
      readCount: (operand) =>
        operand.kind === "value" ? (this.#reads.get(operand) ?? 0) : Infinity,
      isInput: (value) => this.#inputs.has(value),
      isOutput: (value) => this.#outputs.has(value),
    });
    if (result === undefined) return undefined;
    return "kind" in result ? [result] : result;
  }

  #current(operand: Operand): Operand {
    return operand.kind === "value" ? (this.#replaced.get(operand) ?? operand) : operand;
  }

  #count(value: Value, change: number): void {
    this.#reads.set(value, (this.#reads.get(value) ?? 0) + change);
  }

  #check(operation: Operation, results: readonly Value[]): void {
    operation.outputs.forEach((output, index) => {
      const result = results[index];
      if (result !== undefined && sameType(output.type, result.type)) return;
      const given = result === undefined ? "nothing" : formatType(result.type);
      throw new PassError(
        "pass.type",
        `pass "${this.#name}" would replace "${output.name}" (${operation.type}) of type ${formatType(output.type)} by ${given}`,
      );
    });
  }
}
