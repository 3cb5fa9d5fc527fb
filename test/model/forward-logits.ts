import { expect } from "vitest";
import { evaluateFunction } from "../../src/engine/reference/evaluate.ts";
import { hostTensor } from "../../src/mil/host-tensor.ts";
import { numericLiteral } from "../../src/mil/literal.ts";
import { elementCount, staticShape } from "../../src/mil/types.ts";
import { loadWeights, modelOf, readModelConfig, wholeForward } from "../../src/model/index.ts";
import type { Model } from "../../src/model/index.ts";

export type Rows = readonly (readonly number[])[];

/** Logits [S, V] of a whole forward pass of a model that stands in a folder or a file. */
export function forwardLogits(
  path: string,
  ids: readonly number[],
  model: Model = modelOf(readModelConfig(path)),
): Rows {
  const numbers = new Map(
    model.parameters.weights.map(({ name, type }) => [
      name,
      new Float32Array(elementCount(staticShape(type))),
    ]),
  );
  const numbersOf = (name: string): Float32Array => numbers.get(name) ?? new Float32Array();
  loadWeights(path, model, numbersOf);
  const sizes = { batchSize: 1, sequenceLength: ids.length, dataType: "fp32" } as const;
  const fn = wholeForward(model, sizes, ({ name }, type) =>
    numericLiteral(type, numbersOf(name).subarray(0, elementCount(staticShape(type)))),
  );
  const tokens = hostTensor("int32", [1, ids.length], Float64Array.from(ids));
  const [logits] = evaluateFunction(fn, new Map([["tokens", tokens]])).values();
  const V = model.config.vocabularySize;
  return ids.map((_, row) => [...(logits?.data.subarray(row * V, (row + 1) * V) ?? [])]);
}

/** Every number within 1e-4. */
export function expectCloseRows(actual: Rows, expected: Rows): void {
  expect(actual.length).toBe(expected.length);
  const difference = Math.max(
    ...expected.flatMap((row, i) =>
      row.map((value, j) => Math.abs(value - (actual[i]?.[j] ?? NaN))),
    ),
  );
  expect(difference).toBeLessThan(1e-4);
}
