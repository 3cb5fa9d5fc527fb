import { describe, expect, it } from "vitest";
import { evaluateFunction } from "../../src/engine/reference/evaluate.ts";
import type { Operation } from "../../src/mil/program.ts";
import { verifyFunction } from "../../src/mil/verify.ts";
import {
  firstDifference,
  fixtureFunction,
  fixtureHostTensor,
  fixtureInputs,
  readOpFixtures,
} from "./op-fixtures.ts";

describe("every op gives what NumPy, PyTorch or coremltools give", () => {
  for (const { op, cases } of readOpFixtures()) {
    it.each(cases.map((example, index) => [index, example] as const))(
      `${op}, case %i`,
      (_, example) => {
        const fn = fixtureFunction(op, example);
        expect(verifyFunction(fn).unknownOps).toEqual([]);
        expect(fn.operations.some((operation) => usesOp(operation, op))).toBe(true);
        const states = new Map(
          Object.entries(example.states ?? {}).map(([name, [before]]) => [
            name,
            fixtureHostTensor(before),
          ]),
        );
        const results = [...evaluateFunction(fn, fixtureInputs(example), { states }).values()];
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
