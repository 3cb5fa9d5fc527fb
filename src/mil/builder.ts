import { didYouMean } from "../util/nearest.ts";
import { MilError } from "./errors.ts";
import {
  boolLiteral,
  int32Literal,
  int32sLiteral,
  scalarLiteral,
  stringLiteral,
  tensorLiteral,
} from "./literal.ts";
import { OpCall } from "./op-call.ts";
import type { ParameterSpec } from "./op-parameters.ts";
import type { OpInputs } from "./op-row.ts";
import { OPS, opRow } from "./ops/index.ts";
import type { OpName } from "./ops/index.ts";
import { constantOperation, namedValue, plainOperation } from "./program.ts";
import type {
  Argument,
  Block,
  Literal,
  MilFunction,
  Operand,
  Operation,
  Opset,
  Program,
  Value,
} from "./program.ts";
import { renameValues } from "./traverse.ts";
import { tensorType } from "./types.ts";
import type { DataType, MilType } from "./types.ts";

type RawInput =
  | Argument
  | number
  | boolean
  | string
  | readonly number[]
  | readonly boolean[]
  | undefined;

/** Names of an op's results. */
export interface OpOptions {
  /** Name of the result (results of several outputs get `_0`, `_1`, ...); made unique when taken. */
  readonly name?: string;
  readonly blocks?: readonly Block[];
}

/**
 * Writes one function op by op. Each call infers the results' types, so a mistake is reported where it is made.
 *
 * ```ts
 * const f = new FunctionBuilder("main");
 * const x = f.input("x", tensorType("fp32", [2, 3]));
 * const y = f.op("mul", { x, y: 2 });
 * const main = f.finish({ y });
 * ```
 */
export class FunctionBuilder {
  readonly name: string;
  readonly opset: string;
  readonly #inputs: Value[] = [];
  #operations: Operation[] = [];
  readonly #names = new Set<string>();
  #counter = 0;

  constructor(name = "main", opset: Opset = "ios18") {
    this.name = name;
    this.opset = opset;
  }

  /** Adds an input and gives its value. Throws `MilError` for a name that is taken. */
  input(name: string, type: MilType): Value {
    if (this.#names.has(name))
      throw new MilError("mil.builder.name", `input "${name}" exists already`);
    this.#names.add(name);
    const value = namedValue(name, type);
    this.#inputs.push(value);
    return value;
  }

  /** A named constant (`const` op), worth it for tensors; settings are better written in place. */
  constant(literal: Literal, name?: string): Value {
    const value = namedValue(this.#unique(name ?? "const"), literal.type, literal);
    this.push(constantOperation(value, literal));
    return value;
  }

  /** Appends an op with one result. */
  op<Name extends OpName>(
    type: Name,
    inputs: OpInputs<(typeof OPS)[Name]>,
    options: OpOptions = {},
  ): Value {
    const [value, ...rest] = this.many(type, inputs, options);
    if (value === undefined || rest.length > 0) {
      throw new MilError(
        "mil.builder.results",
        `${type} has ${rest.length + 1} results; use many()`,
      );
    }
    return value;
  }

  /** Appends an op with any number of results. */
  many<Name extends OpName>(
    type: Name,
    inputs: OpInputs<(typeof OPS)[Name]>,
    options: OpOptions = {},
  ): readonly Value[] {
    const named = Object.entries<RawInput>(inputs);
    const parameters: Readonly<Record<string, ParameterSpec>> = OPS[type].parameters;
    const dataType = leadingDataType(named, parameters);
    const converted = new Map<string, Argument>();
    for (const [name, raw] of named) {
      if (raw === undefined) continue;
      const spec = parameters[name];
      if (spec === undefined) {
        throw new MilError(
          "mil.op.parameter",
          `${type} has no parameter "${name}".${didYouMean(name, Object.keys(parameters))}`,
        );
      }
      converted.set(name, convertInput(raw, spec, dataType));
    }
    return this.append(
      { type, inputs: converted, blocks: options.blocks ?? [], attributes: new Map() },
      options.name,
    );
  }

  /**
   * Appends an op whose inputs are already operands, as passes do when they copy one.
   * The types are inferred anew; an op outside the table needs `types`.
   */
  append(
    operation: Omit<Operation, "outputs">,
    name?: string,
    types?: readonly MilType[],
  ): readonly Value[] {
    const row = opRow(operation.type);
    if (row === undefined && types === undefined) {
      throw new MilError(
        "mil.op.unknown",
        `there is no op "${operation.type}".${didYouMean(operation.type, Object.keys(OPS))}`,
      );
    }
    const inferred = row === undefined ? (types ?? []) : row.infer(new OpCall(operation, row));
    const base = name ?? operation.type;
    const outputs = inferred.map((resultType, index) =>
      namedValue(this.#unique(inferred.length === 1 ? base : `${base}_${index}`), resultType),
    );
    this.push({ ...operation, outputs });
    return outputs;
  }

  /** What every op goes through that is written. */
  protected push(operation: Operation): void {
    this.#operations.push(freezeOperation(operation));
  }

  /**
   * A block of a `cond` or `while_loop`: `build` appends its ops and gives its results. Values made in it are not for
   * use outside.
   */
  block(
    inputs: readonly (readonly [name: string, type: MilType])[],
    build: (inputs: readonly Value[]) => readonly Value[],
  ): Block {
    const outer = this.#operations;
    this.#operations = [];
    try {
      const values = inputs.map(([name, type]) => namedValue(this.#unique(name), type));
      const outputs = build(values);
      return Object.freeze({
        inputs: Object.freeze(values),
        operations: Object.freeze(this.#operations),
        outputs: Object.freeze([...outputs]),
      });
    } finally {
      this.#operations = outer;
    }
  }

  /** How many ops stand in the function, or in the block that is being built. */
  get operationCount(): number {
    return this.#operations.length;
  }

  /** Takes back the ops after the first `count`; values made by them are not for use any more. */
  rewind(count: number): void {
    this.#operations.length = Math.min(this.#operations.length, count);
  }

  /** Ends the function. Outputs are given by name; each becomes a result of that name. */
  finish(
    outputs: Readonly<Record<string, Value>>,
    attributes: ReadonlyMap<string, Literal> = new Map(),
  ): MilFunction {
    const made = new Set(this.#operations.flatMap((operation) => operation.outputs));
    const renamed = new Map<Value, Value>();
    const results = Object.entries(outputs).map(([name, value]) =>
      this.#named(name, value, made, renamed),
    );
    const operations =
      renamed.size === 0
        ? this.#operations
        : this.#operations.map((operation) => renameValues(operation, renamed));
    return Object.freeze({
      name: this.name,
      opset: this.opset,
      inputs: Object.freeze([...this.#inputs]),
      operations: Object.freeze([...operations]),
      outputs: Object.freeze(results),
      attributes,
    });
  }

  /** A value under the name a result must have: the op that makes it is renamed, or an `identity` is added. */
  #named(name: string, value: Value, made: ReadonlySet<Value>, renamed: Map<Value, Value>): Value {
    if (value.name === name) return value;
    if (this.#names.has(name)) {
      throw new MilError(
        "mil.builder.name",
        `output "${name}" has the name of another value; rename one of them`,
      );
    }
    if (!made.has(value) || renamed.has(value)) {
      const identity = plainOperation("identity", { x: value }, []);
      const [copy] = this.append(identity, name, [value.type]);
      if (copy === undefined) throw new MilError("mil.builder.results", "identity has one result");
      return copy;
    }
    this.#names.add(name);
    const result: Value = Object.freeze({ ...value, name });
    renamed.set(value, result);
    return result;
  }

  #unique(base: string): string {
    let name = base;
    while (this.#names.has(name)) name = `${base}_${this.#counter++}`;
    this.#names.add(name);
    return name;
  }
}

/** A program of one or more finished functions, in the dialect `program(1.3)`. */
export function programOf(...functions: readonly MilFunction[]): Program {
  return Object.freeze({
    version: "1.3",
    attributes: new Map(),
    functions: Object.freeze([...functions]),
  });
}

export function freezeOperation(operation: Operation): Operation {
  return Object.freeze({
    ...operation,
    outputs: Object.freeze([...operation.outputs]),
    blocks: Object.freeze([...operation.blocks]),
  });
}

/** Plain numbers among the inputs take the element type of the first operand that is no size, axis or switch. */
function leadingDataType(
  named: readonly (readonly [string, RawInput])[],
  parameters: Readonly<Record<string, ParameterSpec>>,
): DataType {
  for (const [name, raw] of named) {
    const kind = parameters[name]?.kind;
    const isNumbers = kind === "tensor" || kind === "tensors" || kind === "float";
    if (typeof raw !== "object" || !isNumbers) continue;
    const operand: unknown = Array.isArray(raw) ? raw[0] : raw;
    if (
      isOperand(operand) &&
      operand.type.kind === "tensor" &&
      operand.type.dataType !== "bool" &&
      operand.type.dataType !== "string"
    ) {
      return operand.type.dataType;
    }
  }
  return "fp32";
}

function isOperand(candidate: unknown): candidate is Operand {
  return (
    typeof candidate === "object" &&
    candidate !== null &&
    "kind" in candidate &&
    "type" in candidate
  );
}

function convertInput(
  raw: Exclude<RawInput, undefined>,
  spec: ParameterSpec,
  dataType: DataType,
): Argument {
  switch (typeof raw) {
    case "number":
      return spec.kind === "int" || spec.kind === "ints"
        ? int32Literal(raw)
        : scalarLiteral(dataType, raw);
    case "boolean":
      return boolLiteral(raw);
    case "string":
      return stringLiteral(raw);
    case "object":
      if (isOperand(raw)) return raw;
      if (spec.kind === "tensors") return raw as readonly Operand[];
      if (spec.kind === "bools")
        return tensorLiteral("bool", [raw.length], (raw as readonly boolean[]).map(Number));
      return int32sLiteral(raw as readonly number[]);
    default:
      throw new MilError("mil.builder.input", `an input may not be a ${typeof raw}`);
  }
}

/** A tensor type by example: `shaped("fp32", 2, 3)`. */
export function shaped(
  dataType: DataType,
  ...shape: readonly number[]
): ReturnType<typeof tensorType> {
  return tensorType(dataType, shape);
}
