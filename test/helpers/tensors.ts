import { hostTensor } from "../../src/mil/host-tensor.ts";
import type { HostTensor } from "../../src/mil/host-tensor.ts";
import type { MilFunction } from "../../src/mil/program.ts";
import { elementCount, isFloat } from "../../src/mil/types.ts";
import type { Random } from "../../src/util/random.ts";

/** Random tensors for a function's inputs: floats in [-1, 1), integers 0 and 1. */
export function randomInputs(fn: MilFunction, random: Random): Map<string, HostTensor> {
  return new Map(
    fn.inputs.map(({ name, type }) => {
      if (type.kind !== "tensor") throw new RangeError(`${name} is no tensor`);
      const shape = type.shape.map(Number);
      const data = new Float64Array(elementCount(shape)).map(() =>
        isFloat(type.dataType) ? Math.fround(2 * random.uniform() - 1) : random.below(2),
      );
      return [name, hostTensor(type.dataType, shape, data)];
    }),
  );
}

/** Only the tensors a function takes. */
export function inputsFor(
  fn: MilFunction,
  available: ReadonlyMap<string, HostTensor>,
): Map<string, HostTensor> {
  return new Map(
    fn.inputs.map(({ name }) => {
      const tensor = available.get(name);
      if (tensor === undefined) throw new RangeError(`nothing for input "${name}"`);
      return [name, tensor];
    }),
  );
}

/** The largest difference, relative to the largest number; numbers below 1e-3 count as rounding. */
export function relativeDifference(a: HostTensor, b: HostTensor): number {
  let difference = 0;
  let size = 1e-3;
  a.data.forEach((value, index) => {
    const other = b.data[index] ?? Number.NaN;
    const apart = Object.is(value, other) ? 0 : Math.abs(value - other);
    difference = Number.isNaN(apart) ? Infinity : Math.max(difference, apart);
    size = Math.max(size, Math.abs(value));
  });
  return a.data.length === b.data.length ? difference / size : Infinity;
}
