import type { HostTensor } from "../../mil/host-tensor.ts";
import { coordinatesOf, forEachWindowElement } from "../../mil/ops/windows.ts";
import type { WindowGeometry } from "../../mil/ops/windows.ts";
import { elementCount } from "../../mil/types.ts";
import { HalfTensor } from "./half-tensor.ts";
import type { Machine } from "./machine.ts";

export interface WindowSizes {
  readonly places: readonly number[];
  readonly inputs: readonly number[];
  readonly perGroup: number;
  readonly kernelSize: number;
  /** Rows of ones before the others: what a bias is multiplied with. */
  readonly extra: number;
}

/** [N * groups, extra + C / groups * K, places]: what each window of each group covers. */
export function windows(
  x: HostTensor,
  geometry: WindowGeometry,
  { places, inputs, perGroup, kernelSize, extra }: WindowSizes,
  { arena }: Machine,
): HalfTensor {
  const { data } = x;
  const placeCount = elementCount(places);
  const inputSize = elementCount(inputs);
  const parts = data.length / (perGroup * inputSize);
  const rows = extra + perGroup * kernelSize;
  const columns = HalfTensor.allocate(arena, x.dataType, [parts, rows, placeCount]);
  const numbers = columns.numbers().fill(0);
  for (let part = 0; part < parts; part++) {
    const start = part * rows * placeCount;
    numbers.fill(1, start, start + extra * placeCount);
  }
  for (let place = 0; place < placeCount; place++) {
    forEachWindowElement(geometry, inputs, coordinatesOf(place, places), (k, input) => {
      for (let part = 0; part < parts; part++) {
        for (let channel = 0; channel < perGroup; channel++) {
          const row = part * rows + extra + channel * kernelSize + k;
          numbers[row * placeCount + place] =
            data[(part * perGroup + channel) * inputSize + input] ?? 0;
        }
      }
    });
  }
  return columns;
}
