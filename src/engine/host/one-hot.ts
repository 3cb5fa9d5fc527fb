import type { OneHotConversion } from "../../lower/ports.ts";
import { EngineError } from "../errors.ts";

/**
 * Rows of `depth` elements, one for each index: `one` in the column that the index points at, zeros elsewhere.
 * Throws `EngineError` `engine.index` for an index outside the axis.
 */
export function fillOneHot(
  indices: ArrayLike<number>,
  { first, depth, size, negative }: OneHotConversion,
  port: Float32Array | Uint16Array,
  one: number,
): void {
  port.fill(0, 0, indices.length * depth);
  for (let row = 0; row < indices.length; row++) {
    const index = indices[row] ?? 0;
    const place = index >= 0 ? index : negative === "first" ? 0 : index + size;
    if (place < 0 || place >= size) {
      throw new EngineError(
        "engine.index",
        `index ${index} is outside the ${size} elements of its axis`,
      );
    }
    const column = place - first;
    if (column >= 0 && column < depth) port[row * depth + column] = one;
  }
}
