import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { evaluateOperation } from "../../src/mil/evaluate-operation.ts";
import { MilError } from "../../src/mil/errors.ts";
import { hostTensor, zeros } from "../../src/mil/host-tensor.ts";
import { int32sLiteral, stringLiteral, tensorLiteral } from "../../src/mil/literal.ts";
import { PUBLIC_OPS, signatureIn } from "../../src/mil/op-signature.ts";
import type { SignatureParameter } from "../../src/mil/op-signature.ts";
import { opRow } from "../../src/mil/ops/index.ts";
import type { Argument, MilFunction, Operation, Value } from "../../src/mil/program.ts";
import { elementCount, tensorType } from "../../src/mil/types.ts";
import type { DataType } from "../../src/mil/types.ts";
import { checkFunction } from "../../src/mil/verify.ts";
import { Random } from "../../src/util/random.ts";

const WORDS = [
  "valid",
  "same",
  "custom",
  "reflect",
  "add",
  "fp16",
  "int8",
  "forward",
  "abc,cbd->abd",
  "__proto__",
];

/** An argument of any kind, not always of a kind that fits. */
function anyArgument(random: Random, parameter: SignatureParameter, inputs: Value[]): Argument {
  const types = parameter.types ?? ["fp32"];
  const fitting = types[random.below(types.length)] ?? "fp32";
  const dataType: DataType = random.below(8) === 0 ? "fp32" : fitting;
  if (dataType === "string") return stringLiteral(WORDS[random.below(WORDS.length)] ?? "");
  const shape = Array.from({ length: random.below(random.below(3) === 0 ? 6 : 3) }, () =>
    random.below(4),
  );
  const numbers = Array.from({ length: elementCount(shape) }, () => random.below(9) - 3);
  if (parameter.constant || random.below(3) === 0) return tensorLiteral(dataType, shape, numbers);
  const open = shape.map((size) => (random.below(6) === 0 ? ("?" as const) : size));
  const value: Value = {
    kind: "value",
    name: `v${inputs.length}`,
    type: tensorType(dataType, open),
  };
  inputs.push(value);
  return random.below(5) === 0 ? [value, value] : value;
}

function anyCall(op: string, seed: number): { fn: MilFunction; operation: Operation } {
  const random = new Random(seed);
  const inputs: Value[] = [];
  const given = new Map<string, Argument>();
  for (const parameter of signatureIn(op, "ios18")?.parameters ?? []) {
    if (parameter.optional && random.below(2) === 0) continue;
    if (random.below(25) === 0) continue;
    given.set(parameter.name, anyArgument(random, parameter, inputs));
  }
  const operation: Operation = {
    type: op,
    inputs: given,
    outputs: [{ kind: "value", name: "result", type: tensorType("fp32", ["?"]) }],
    blocks: [],
    attributes: new Map(),
  };
  const fn = {
    name: "main",
    opset: "ios18",
    inputs,
    operations: [operation],
    outputs: [],
    attributes: new Map(),
  };
  return { fn, operation };
}

describe("bad input", () => {
  it("breaks a rule with a MilError and never anything else, whatever the op and its arguments", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...PUBLIC_OPS),
        fc.integer({ min: 0, max: 2 ** 31 }),
        (op, seed) => {
          const { fn, operation } = anyCall(op, seed);
          const internal = checkFunction(fn).problems.filter(
            ({ code }) => code === "mil.verify.internal",
          );
          expect(internal).toEqual([]);
          try {
            evaluateOperation(operation, {
              resolve: (operand) => {
                const { type } = operand;
                if (type.kind !== "tensor") throw new MilError("test", "no tensor");
                return hostTensor(
                  type.dataType,
                  type.shape.map((size) => (size === "?" ? 2 : size)),
                );
              },
              runBlock: () => [],
              writeState: () => undefined,
              iterationLimit: 10,
            });
          } catch (error) {
            if (!(error instanceof MilError)) throw error;
          }
        },
      ),
      { numRuns: 6000, seed: 1 },
    );
  });

  it("refuses tensors that no memory holds before making them", () => {
    expect(() => zeros([2 ** 20, 2 ** 20])).toThrow(MilError);
    expect(() => zeros([-1])).toThrow(MilError);
    expect(() => zeros([1.5])).toThrow(MilError);
    expect(() => zeros([NaN])).toThrow(MilError);
    const fill = opRow("fill");
    const operation: Operation = {
      type: "fill",
      inputs: new Map([["shape", int32sLiteral([2 ** 30, 2 ** 30])]]),
      outputs: [{ kind: "value", name: "r", type: tensorType("fp32", [2 ** 30, 2 ** 30]) }],
      blocks: [],
      attributes: new Map(),
    };
    expect(fill).toBeDefined();
    const environment = {
      resolve: () => hostTensor("fp32", []),
      runBlock: () => [],
      writeState: () => undefined,
    };
    expect(() => evaluateOperation(operation, environment)).toThrow("cannot be evaluated");
  });

  it("refuses ranks above Core ML's", () => {
    const x: Value = { kind: "value", name: "x", type: tensorType("fp32", [1, 1, 1, 1, 2]) };
    const y: Value = { kind: "value", name: "y", type: tensorType("fp32", [1, 1, 1, 1, 1, 2]) };
    const operation: Operation = {
      type: "expand_dims",
      inputs: new Map<string, Argument>([
        ["x", x],
        ["axes", int32sLiteral([0])],
      ]),
      outputs: [y],
      blocks: [],
      attributes: new Map(),
    };
    const fn = {
      name: "main",
      opset: "ios18",
      inputs: [x],
      operations: [operation],
      outputs: [y],
      attributes: new Map(),
    };
    expect(checkFunction(fn).problems.map(({ code }) => code)).toEqual(["mil.verify.rank"]);
  });
});
