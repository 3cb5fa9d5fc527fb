import { describe, expect, it } from "vitest";
import { evaluateFunction } from "../../src/engine/reference/evaluate.ts";
import { OpCall } from "../../src/mil/op-call.ts";
import { opRow } from "../../src/mil/ops/index.ts";
import type { Argument, MilFunction, Operation, Value } from "../../src/mil/program.ts";
import { parseProgram } from "../../src/mil/text/index.ts";
import { tensorType } from "../../src/mil/types.ts";
import type { MilType } from "../../src/mil/types.ts";
import { verifyFunction } from "../../src/mil/verify.ts";
import {
  firstDifference,
  fixtureDataType,
  fixtureHostTensor,
  fixtureLiteral,
  readOpFixtures,
} from "./op-fixtures.ts";
import type { FixtureCase, FixtureTensor } from "./op-fixtures.ts";

/** A function of the case's inputs that holds the one op, with constants in place. */
function functionOf(op: string, example: FixtureCase): MilFunction {
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

function inputsOf(example: FixtureCase) {
  return new Map(
    Object.entries(example.inputs).flatMap(([name, tensor]) =>
      isList(tensor)
        ? tensor.map((item, index) => [`${name}_${index}`, fixtureHostTensor(item)] as const)
        : [[name, fixtureHostTensor(tensor)] as const],
    ),
  );
}

describe("every op gives what NumPy, PyTorch or coremltools give", () => {
  for (const { op, cases } of readOpFixtures()) {
    it.each(cases.map((example, index) => [index, example] as const))(
      `${op}, case %i`,
      (_, example) => {
        const fn = functionOf(op, example);
        expect(verifyFunction(fn).unknownOps).toEqual([]);
        expect(fn.operations.some((operation) => usesOp(operation, op))).toBe(true);
        const states = new Map(
          Object.entries(example.states ?? {}).map(([name, [before]]) => [
            name,
            fixtureHostTensor(before),
          ]),
        );
        const results = [...evaluateFunction(fn, inputsOf(example), { states }).values()];
        expect(results.length).toBe(example.outputs.length);
        example.outputs.forEach((expected, index) => {
          const actual = results[index];
          expect(actual?.dataType).toBe(expected.dtype);
          expect(actual?.shape).toEqual(expected.shape);
          if (actual === undefined) return;
          expect(firstDifference(actual, expected, example.tolerance)).toBeUndefined();
        });
        for (const [name, [, after]] of Object.entries(example.states ?? {})) {
          const contents = states.get(name);
          expect(contents && firstDifference(contents, after)).toBeUndefined();
        }
      },
    );
  }
});

function usesOp(operation: Operation, op: string): boolean {
  return (
    operation.type === op ||
    operation.blocks.some((block) => block.operations.some((nested) => usesOp(nested, op)))
  );
}
