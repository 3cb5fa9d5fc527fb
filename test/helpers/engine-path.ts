import { expect } from "vitest";
import { chipByName } from "../../src/chip/chips.ts";
import { evaluateFunction } from "../../src/engine/reference/evaluate.ts";
import { lowerFunction } from "../../src/lower/lower-function.ts";
import { hostTensor, roundTo } from "../../src/mil/host-tensor.ts";
import type { HostTensor } from "../../src/mil/host-tensor.ts";
import type { MilFunction } from "../../src/mil/program.ts";
import { staticShape } from "../../src/mil/types.ts";
import { runLowered } from "./run-lowered.ts";

/** Chips and drivers whose rewritten programs differ. */
export const ENGINE_PATHS = [
  ["m1", "in-memory"],
  ["m1", "e5rt"],
  ["m4", "e5rt"],
] as const;

/** Inputs by name, as numbers of the function's own types; floats become fp16 numbers first. */
export function engineInputs(
  fn: MilFunction,
  numbers: Readonly<Record<string, readonly number[]>>,
): Map<string, HostTensor> {
  return new Map(
    fn.inputs.map(({ name, type }) => {
      if (type.kind !== "tensor") throw new Error(name);
      const { dataType } = type;
      const given = numbers[name] ?? [];
      const isFloating = dataType === "fp32" || dataType === "fp16";
      const data = Float64Array.from(given, (n) => (isFloating ? roundTo("fp16", n) : n));
      return [name, hostTensor(dataType, staticShape(type), data)];
    }),
  );
}

export interface Tolerance {
  readonly absolute?: number;
  readonly relative?: number;
}

/** Expects every rewritten form of a function to give what the reference gives, in exact arithmetic. */
export function expectSameOnEngine(
  fn: MilFunction,
  numbers: Readonly<Record<string, readonly number[]>>,
  { absolute = 2e-3, relative = 2e-3 }: Tolerance = {},
): void {
  const inputs = engineInputs(fn, numbers);
  const wanted = evaluateFunction(fn, inputs, { precision: "float64" });
  for (const [chip, driver] of ENGINE_PATHS) {
    const program = lowerFunction(fn, chipByName(chip), driver);
    const got = runLowered(program, inputs, fn);
    for (const [name, { data }] of wanted) {
      const values = got.get(name) ?? [];
      expect(values.length, `${chip} ${driver} ${name}`).toBe(data.length);
      for (const [index, want] of data.entries()) {
        const value = values[index] ?? NaN;
        if (Object.is(value, want) || value === want) continue;
        const allowed = absolute + relative * Math.abs(want);
        expect(
          Math.abs(value - want),
          `${chip} ${driver} ${name}[${index}]: ${value} instead of ${want}`,
        ).toBeLessThanOrEqual(allowed);
      }
    }
  }
}
