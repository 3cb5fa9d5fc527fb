import { smallFloat, smallFloats } from "../util/small-floats.ts";
import type { SmallFloat } from "../util/small-floats.ts";

/** By ONNX's code of the element type. Source: onnx.ai/onnx/technical/float8.html and float4.html. */
const SMALL_FLOATS: Readonly<Record<number, SmallFloat>> = {
  17: smallFloat(4, 3, 7, "last is NaN"),
  18: smallFloat(4, 3, 8, "numbers", true),
  19: smallFloat(5, 2, 15, "ieee"),
  20: smallFloat(5, 2, 16, "numbers", true),
  23: smallFloat(2, 1, 1, "numbers"),
  24: { ...smallFloat(8, 0, 127, "last is NaN"), isSigned: false },
};

const TABLES = new Map<number, Float32Array>();

/** Every value of a float type of at most 8 bits by its bit pattern; nothing for other types. */
export function smallFloatTable(code: number): Float32Array | undefined {
  const known = TABLES.get(code);
  if (known !== undefined) return known;
  const format = SMALL_FLOATS[code];
  if (format === undefined) return undefined;
  const table = smallFloats(format);
  TABLES.set(code, table);
  return table;
}
