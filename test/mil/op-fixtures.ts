import { readFileSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { hostTensor, roundTo } from "../../src/mil/host-tensor.ts";
import type { HostTensor } from "../../src/mil/host-tensor.ts";
import { stringLiteral, tensorLiteral } from "../../src/mil/literal.ts";
import type { Argument, Literal, MilFunction, Operation, Value } from "../../src/mil/program.ts";
import { OpCall } from "../../src/mil/op-call.ts";
import { opRow } from "../../src/mil/ops/index.ts";
import { parseProgram } from "../../src/mil/text/index.ts";
import { isDataType, tensorType } from "../../src/mil/types.ts";
import type { DataType, MilType } from "../../src/mil/types.ts";

/** A tensor as the fixtures spell it: floats that JSON cannot hold are strings. */
export interface FixtureTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: readonly (number | string)[];
}

export interface FixtureCase {
  /** Who computed the results. */
  readonly source: string;
  readonly opset: string;
  /** MIL text of a whole program, for ops that need blocks, lists or states. */
  readonly program?: string;
  readonly inputs: Readonly<Record<string, FixtureTensor | readonly FixtureTensor[]>>;
  readonly constants: Readonly<Record<string, FixtureTensor | readonly FixtureTensor[]>>;
  /** Contents before and after. */
  readonly states?: Readonly<Record<string, readonly [FixtureTensor, FixtureTensor]>>;
  readonly outputs: readonly FixtureTensor[];
  /** Absolute, in place of that of the type: for shares of random numbers. */
  readonly tolerance?: number;
}

export interface OpFixture {
  readonly op: string;
  readonly cases: readonly FixtureCase[];
}

const FOLDER = fileURLToPath(new URL("../fixtures/ops/", import.meta.url));

export function readOpFixtures(): readonly OpFixture[] {
  return readdirSync(FOLDER)
    .filter((name) => name.endsWith(".json"))
    .toSorted()
    .map((name) => JSON.parse(readFileSync(FOLDER + name, "utf8")) as OpFixture);
}

const SPECIAL: Readonly<Record<string, number>> = { nan: NaN, inf: Infinity, "-inf": -Infinity };

export function fixtureDataType({ dtype }: FixtureTensor): DataType {
  if (!isDataType(dtype)) throw new Error(`fixture with element type ${dtype}`);
  return dtype;
}

export function fixtureNumbers({ data }: FixtureTensor): Float64Array {
  return Float64Array.from(data, (value) =>
    typeof value === "number" ? value : (SPECIAL[value] ?? NaN),
  );
}

export function fixtureHostTensor(tensor: FixtureTensor): HostTensor {
  return hostTensor(fixtureDataType(tensor), tensor.shape, fixtureNumbers(tensor));
}

export function fixtureLiteral(tensor: FixtureTensor): Literal {
  if (tensor.dtype === "string") return stringLiteral(String(tensor.data[0]));
  return tensorLiteral(fixtureDataType(tensor), tensor.shape, fixtureNumbers(tensor));
}

/**
 * How far a result may be off, relative to the expected number. Expected numbers are computed in double
 * precision and rounded, so two units in the last place remain; integers and bools are exact.
 */
export const TOLERANCES: Partial<Record<DataType, number>> = {
  fp32: 2 ** -22,
  fp16: 2 ** -9,
};

/** Sums of terms that cancel leave this much, the terms being of size 1. */
const ABSOLUTE_TOLERANCES: Partial<Record<DataType, number>> = { fp32: 1e-12, fp16: 2 ** -24 };

/** Where two tensors differ by more than the tolerance of their type, or nothing. */
export function firstDifference(
  actual: HostTensor,
  expected: FixtureTensor,
  tolerance?: number,
): string | undefined {
  const relative = TOLERANCES[actual.dataType] ?? 0;
  const absolute = tolerance ?? ABSOLUTE_TOLERANCES[actual.dataType] ?? 0;
  const wanted = fixtureNumbers(expected);
  for (let i = 0; i < wanted.length; i++) {
    const a = actual.data[i] ?? NaN;
    const e = roundTo(actual.dataType, wanted[i] ?? NaN);
    if (Object.is(a, e)) continue;
    if (Number.isFinite(e) && Math.abs(a - e) <= absolute + relative * Math.abs(e)) continue;
    return `element ${i} is ${a}, expected ${e}`;
  }
  return undefined;
}

/** A function of the case's inputs that holds the one op, with constants in place. */
export function fixtureFunction(op: string, example: FixtureCase): MilFunction {
  if (example.program !== undefined) {
    const [fn] = parseProgram(example.program).functions;
    if (fn === undefined) throw new Error("the program has no function");
    return fn;
  }
  const inputs: Value[] = [];
  const argumentsByName = new Map<string, Argument>();
  const valueOf = (name: string, tensor: FixtureTensor): Value => {
    const value: Value = {
      kind: "value",
      name,
      type: tensorType(fixtureDataType(tensor), tensor.shape),
    };
    inputs.push(value);
    return value;
  };
  for (const [name, tensor] of Object.entries(example.inputs)) {
    const argument = isList(tensor)
      ? tensor.map((item, index) => valueOf(`${name}_${index}`, item))
      : valueOf(name, tensor);
    argumentsByName.set(name, argument);
  }
  for (const [name, tensor] of Object.entries(example.constants)) {
    argumentsByName.set(name, isList(tensor) ? tensor.map(fixtureLiteral) : fixtureLiteral(tensor));
  }
  const row = opRow(op);
  if (row === undefined) throw new Error(`no op ${op}`);
  const bare = { type: op, inputs: argumentsByName, blocks: [], attributes: new Map() };
  const outputs = row
    .infer(new OpCall(bare, row))
    .map((type: MilType, index): Value => ({ kind: "value", name: `result_${index}`, type }));
  const operation: Operation = { ...bare, outputs };
  return {
    name: "main",
    opset: example.opset,
    inputs,
    operations: [operation],
    outputs,
    attributes: new Map(),
  };
}

function isList(
  tensor: FixtureTensor | readonly FixtureTensor[],
): tensor is readonly FixtureTensor[] {
  return Array.isArray(tensor);
}

/** The numbers of the case's inputs, by the names they have in its function. */
export function fixtureInputs(example: FixtureCase): ReadonlyMap<string, HostTensor> {
  return new Map(
    Object.entries(example.inputs).flatMap(([name, tensor]) =>
      isList(tensor)
        ? tensor.map((item, index) => [`${name}_${index}`, fixtureHostTensor(item)] as const)
        : [[name, fixtureHostTensor(tensor)] as const],
    ),
  );
}
