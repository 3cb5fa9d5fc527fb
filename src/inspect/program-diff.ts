import { createHash } from "node:crypto";
import type { Weights } from "../coreml/index.ts";
import { literalNumbers } from "../mil/literal.ts";
import { printLiteral } from "../mil/text/index.ts";
import { isValue, operandsNamed } from "../mil/program.ts";
import type { Literal, MilFunction, Operand, Operation, Program, Value } from "../mil/program.ts";
import { formatType } from "../mil/types.ts";
import { encodeElements } from "../coreml/index.ts";
import type { Difference } from "./hwx/diff.ts";
import { commonPlaces } from "./alignment.ts";

/** One thing that is not the same on both sides; null where a side does not have it. */
export type ProgramDifference = Difference;

/** Two ops that stand for each other, or one that has no counterpart. */
export interface OperationPair {
  /** Name of the first result on each side. */
  readonly a: string | null;
  readonly b: string | null;
  readonly op: string;
  readonly differences: readonly ProgramDifference[];
}

/** What two functions of one name differ in. */
export interface FunctionDiff {
  readonly name: string;
  /** "both", or the only side that has the function. */
  readonly side: "both" | "a" | "b";
  readonly interface: readonly ProgramDifference[];
  /** Ops that differ or have no counterpart, in order. */
  readonly ops: readonly OperationPair[];
  readonly equal_ops: number;
}

/** What two programs differ in. */
export interface ProgramDiff {
  readonly equal: boolean;
  readonly program: readonly ProgramDifference[];
  readonly functions: readonly FunctionDiff[];
}

/** A program and where its weight files are. */
export interface ProgramSide {
  readonly program: Program;
  readonly weights: Weights | undefined;
}

/**
 * Compares by structure: functions by name, then ops in order, whatever their values are called. Two ops are alike
 * when they have the same type, take the results of ops that stand for each other, and have equal constants, be
 * these in place, in `const` ops or in weight files.
 */
export function diffPrograms(a: ProgramSide, b: ProgramSide): ProgramDiff {
  const names = [
    ...new Set([...a.program.functions, ...b.program.functions].map(({ name }) => name)),
  ];
  const functions = names.map((name) => {
    const left = a.program.functions.find((fn) => fn.name === name);
    const right = b.program.functions.find((fn) => fn.name === name);
    if (left !== undefined && right !== undefined) {
      return new FunctionComparison(left, right, a.weights, b.weights).compare();
    }
    const only = left ?? right;
    const side = left === undefined ? ("b" as const) : ("a" as const);
    return { name, side, interface: [], ops: [], equal_ops: only?.operations.length ?? 0 };
  });
  const program = changed([["dialect", a.program.version, b.program.version]]);
  const equal =
    program.length === 0 &&
    functions.every((fn) => fn.side === "both" && fn.interface.length === 0 && fn.ops.length === 0);
  return { equal, program, functions };
}

function changed(
  rows: readonly (readonly [name: string, a: string | null, b: string | null])[],
): ProgramDifference[] {
  return rows.filter(([, a, b]) => a !== b).map(([name, a, b]) => ({ name, a, b }));
}

/** Beyond this many comparisons only ops of equal names are matched in the middle part. */
const ALIGNMENT_LIMIT = 16_000_000;

class FunctionComparison {
  readonly #a: MilFunction;
  readonly #b: MilFunction;
  readonly #weights: readonly [Weights | undefined, Weights | undefined];
  /** Values of b's ops by those of a that they stand for. */
  readonly #counterpart = new Map<Value, Value>();
  readonly #texts = new Map<Literal, string>();

  constructor(
    a: MilFunction,
    b: MilFunction,
    weightsOfA: Weights | undefined,
    weightsOfB: Weights | undefined,
  ) {
    this.#a = a;
    this.#b = b;
    this.#weights = [weightsOfA, weightsOfB];
  }

  compare(): FunctionDiff {
    const ports = this.#comparePorts();
    const pairs = align(plain(this.#a), plain(this.#b), signature);
    const ops: OperationPair[] = [];
    let equalOps = 0;
    for (const [left, right] of pairs) {
      if (left !== undefined && right !== undefined) {
        left.outputs.forEach((output, index) => {
          const other = right.outputs[index];
          if (other !== undefined) this.#counterpart.set(output, other);
        });
      }
      const differences =
        left === undefined || right === undefined ? [] : this.#compareOperations(left, right);
      if (left !== undefined && right !== undefined && differences.length === 0) equalOps++;
      else {
        ops.push({
          a: left?.outputs[0]?.name ?? null,
          b: right?.outputs[0]?.name ?? null,
          op: left?.type ?? right?.type ?? "",
          differences,
        });
      }
    }
    const results = changed(
      this.#a.outputs.map((output, index) => {
        const other = this.#b.outputs[index];
        const same = other !== undefined && this.#sameValue(output, other);
        return [
          `result ${output.name} comes from`,
          output.name,
          same ? output.name : (other?.name ?? null),
        ];
      }),
    );
    return {
      name: this.#a.name,
      side: "both",
      interface: [...ports, ...(ops.length === 0 ? results : [])],
      ops,
      equal_ops: equalOps,
    };
  }

  #comparePorts(): ProgramDifference[] {
    const [a, b] = [this.#a, this.#b];
    const rows: (readonly [string, string | null, string | null])[] = [["opset", a.opset, b.opset]];
    for (const side of ["inputs", "outputs"] as const) {
      const names = [...new Set([...a[side], ...b[side]].map(({ name }) => name))];
      for (const name of names) {
        const left = a[side].find((value) => value.name === name);
        const right = b[side].find((value) => value.name === name);
        if (side === "inputs" && left !== undefined && right !== undefined) {
          this.#counterpart.set(left, right);
        }
        const text = (value: Value | undefined) =>
          value === undefined ? null : formatType(value.type);
        rows.push([`${side.slice(0, -1)} ${name}`, text(left), text(right)]);
      }
    }
    return changed(rows);
  }

  #compareOperations(left: Operation, right: Operation): ProgramDifference[] {
    const names = [...new Set([...left.inputs.keys(), ...right.inputs.keys()])];
    const rows = names.map((name): readonly [string, string | null, string | null] => {
      const [a, b] = [operandsNamed(left, name), operandsNamed(right, name)];
      const same =
        a.length === b.length && a.every((operand, index) => this.#same(operand, b[index]));
      if (same) return [name, "", ""];
      const [textA, textB] = [this.#text(a, 0), this.#text(b, 1)];
      return [name, textA, textA === textB ? `${textB} (another value)` : textB];
    });
    const types = (operation: Operation): string =>
      operation.outputs.map(({ type }) => formatType(type)).join(", ");
    return changed([
      ["op", left.type, right.type],
      ...rows,
      ["result", types(left), types(right)],
      ["nested blocks", blocksText(left), blocksText(right)],
    ]);
  }

  #same(a: Operand, b: Operand | undefined): boolean {
    if (b === undefined) return false;
    const [left, right] = [literalBehind(a), literalBehind(b)];
    if (left !== undefined && right !== undefined) {
      return this.#literalText(left, 0) === this.#literalText(right, 1);
    }
    return isValue(a) && isValue(b) && this.#sameValue(a, b);
  }

  #sameValue(a: Value, b: Value): boolean {
    const found = this.#counterpart.get(a);
    return found === undefined ? a.name === b.name : found === b;
  }

  #text(operands: readonly Operand[], side: 0 | 1): string | null {
    if (operands.length === 0) return null;
    return operands
      .map((operand) => {
        const literal = literalBehind(operand);
        if (literal !== undefined) return this.#literalText(literal, side);
        return isValue(operand) ? operand.name : formatType(operand.type);
      })
      .join(", ");
  }

  /** Small constants as text, large ones as their type and a digest of their numbers. */
  #literalText(literal: Literal, side: 0 | 1): string {
    const known = this.#texts.get(literal);
    if (known !== undefined) return known;
    const text = this.#describe(literal, this.#weights[side]);
    this.#texts.set(literal, text);
    return text;
  }

  #describe(literal: Literal, weights: Weights | undefined): string {
    const { type, data } = literal;
    if (type.kind !== "tensor") return printLiteral(literal);
    // A small tensor is told by its numbers, in the text or in a weight file.
    const small = smallNumbers(literal, weights);
    if (small !== undefined) {
      const numbers = small.join(", ");
      return type.shape.length === 0
        ? `${type.dataType} ${numbers}`
        : `${formatType(type)} (${numbers})`;
    }
    if (data.kind !== "numbers" && data.kind !== "blob") return printLiteral(literal);
    const hash = createHash("sha256");
    if (data.kind === "blob") {
      if (weights === undefined) return `${formatType(type)} in ${data.path} @${data.offset}`;
      const { file, record } = weights.locate(literal);
      for (let from = 0; from < record.byteLength; from += READ_BYTES) {
        hash.update(file.readBytes(record, from, Math.min(READ_BYTES, record.byteLength - from)));
      }
    } else hash.update(encodeElements(type.dataType, data.numbers));
    return `${formatType(type)} ${hash.digest("hex").slice(0, 12)}`;
  }
}

const READ_BYTES = 1 << 22;

function literalBehind(operand: Operand): Literal | undefined {
  return isValue(operand) ? operand.constant : operand;
}

/** Ops that do something: constants are compared where they are taken. */
function plain(fn: MilFunction): readonly Operation[] {
  return fn.operations.filter(({ type }) => type !== "const");
}

function blocksText(operation: Operation): string {
  return operation.blocks
    .map((block) => block.operations.map(({ type }) => type).join(" "))
    .join("; ");
}

function signature(operation: Operation): string {
  return `${operation.type} ${operation.outputs.map(({ type }) => formatType(type)).join()}`;
}

type Pair = readonly [Operation | undefined, Operation | undefined];

/** Matches ops in order, so that as many as possible have a counterpart of the same type and result. */
function align(
  a: readonly Operation[],
  b: readonly Operation[],
  keyOf: (operation: Operation) => string,
): Pair[] {
  const [keysA, keysB] = [a.map(keyOf), b.map(keyOf)];
  let start = 0;
  while (start < a.length && start < b.length && keysA[start] === keysB[start]) start++;
  let tail = 0;
  while (
    tail < a.length - start &&
    tail < b.length - start &&
    keysA[a.length - 1 - tail] === keysB[b.length - 1 - tail]
  )
    tail++;
  const pairs: Pair[] = a.slice(0, start).map((operation, index) => [operation, b[index]]);
  const [middleA, middleB] = [a.slice(start, a.length - tail), b.slice(start, b.length - tail)];
  const small = middleA.length * middleB.length <= ALIGNMENT_LIMIT;
  pairs.push(
    ...joinReplaced(
      small ? longestCommon(middleA, middleB, keyOf) : longestCommonByName(middleA, middleB),
    ),
  );
  for (let index = tail; index > 0; index--) pairs.push([a[a.length - index], b[b.length - index]]);
  return pairs;
}

function longestCommon(
  a: readonly Operation[],
  b: readonly Operation[],
  keyOf: (operation: Operation) => string,
): Pair[] {
  const pairs: Pair[] = [];
  let [fromA, fromB] = [0, 0];
  const alone = (toA: number, toB: number): void => {
    for (const left of a.slice(fromA, toA)) pairs.push([left, undefined]);
    for (const right of b.slice(fromB, toB)) pairs.push([undefined, right]);
    [fromA, fromB] = [toA + 1, toB + 1];
  };
  for (const [i, j] of commonPlaces(a.map(keyOf), b.map(keyOf))) {
    alone(i, j);
    pairs.push([a[i], b[j]]);
  }
  alone(a.length, b.length);
  return pairs;
}

/** For very large functions: ops with a result of the same name, in order. */
function longestCommonByName(a: readonly Operation[], b: readonly Operation[]): Pair[] {
  const nameOf = (operation: Operation): string => operation.outputs[0]?.name ?? "";
  const places = new Map(b.map((operation, index) => [nameOf(operation), index]));
  const pairs: Pair[] = [];
  let next = 0;
  for (const operation of a) {
    const place = places.get(nameOf(operation));
    if (place === undefined || place < next) pairs.push([operation, undefined]);
    else {
      while (next < place) pairs.push([undefined, b[next++]]);
      pairs.push([operation, b[next++]]);
    }
  }
  while (next < b.length) pairs.push([undefined, b[next++]]);
  return pairs;
}

/** An op that went away and one of the same type that came in its stead are one change. */
function joinReplaced(pairs: readonly Pair[]): Pair[] {
  const joined: Pair[] = [];
  for (let index = 0; index < pairs.length;) {
    const run: Pair[] = [];
    while (index + run.length < pairs.length) {
      const pair = pairs[index + run.length];
      if (pair === undefined || (pair[0] !== undefined && pair[1] !== undefined)) break;
      run.push(pair);
    }
    if (run.length === 0) {
      const pair = pairs[index++];
      if (pair !== undefined) joined.push(pair);
      continue;
    }
    index += run.length;
    const added = run.flatMap(([, right]) => (right === undefined ? [] : [right]));
    for (const [left] of run) {
      if (left === undefined) continue;
      const place = added.findIndex(({ type }) => type === left.type);
      joined.push([left, place === -1 ? undefined : added.splice(place, 1)[0]]);
    }
    joined.push(...added.map((right): Pair => [undefined, right]));
  }
  return joined;
}

/** A difference as `anecdote diff` prints it. */
export function programDiffText(diff: ProgramDiff): string {
  const lines = diff.program.map((one) => line("", one));
  for (const fn of diff.functions) {
    if (fn.side !== "both") {
      lines.push(`function ${fn.name} only in ${fn.side} (${fn.equal_ops} ops)`);
      continue;
    }
    lines.push(`function ${fn.name}: ${fn.equal_ops} ops alike, ${fn.ops.length} not`);
    lines.push(...fn.interface.map((one) => line("  ", one)));
    for (const { a, b, op, differences } of fn.ops) {
      if (a === null) lines.push(`  + ${op} -> ${b ?? ""}`);
      else if (b === null) lines.push(`  - ${op} -> ${a}`);
      else {
        lines.push(`  ~ ${op} -> ${a === b ? a : `${a} / ${b}`}`);
        lines.push(...differences.map((one) => line("      ", one)));
      }
    }
  }
  lines.push(diff.equal ? "no difference" : "the programs differ");
  return `${lines.join("\n")}\n`;
}

function line(indent: string, { name, a, b }: ProgramDifference): string {
  const side = (value: string | null): string =>
    value === null ? "(absent)" : value.length > 100 ? `${value.slice(0, 99)}…` : value;
  return `${indent}${name}: ${side(a)} -> ${side(b)}`;
}

/** Constants of more elements are told by a digest. */
const SMALL_ELEMENTS = 16;

/** The numbers of a tensor that has few. */
function smallNumbers(
  literal: Literal,
  weights: Weights | undefined,
): readonly (number | bigint)[] | undefined {
  const { data } = literal;
  if (data.kind === "numbers") {
    return data.numbers.length > SMALL_ELEMENTS ? undefined : literalNumbers(literal);
  }
  if (data.kind !== "blob" || weights === undefined) return undefined;
  const { file, record } = weights.locate(literal);
  return record.elementCount > SMALL_ELEMENTS ? undefined : [...file.readNumbers(record)];
}
