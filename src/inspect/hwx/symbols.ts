import type { ByteView } from "../byte-view.ts";
import type { HwxSymbol, HwxSymbolTensor } from "./model.ts";

/** Element types by their number in debug entries and LC_THREAD surfaces; newer compilers add the tail. */
export const ELEMENT_TYPES: readonly (string | undefined)[] = [
  undefined,
  "void",
  "int8",
  "uint8",
  "int16",
  "fp16",
  "fp32",
  "raw10",
  "lut",
  "uint4",
  "uint6",
  "uint1",
  "uint2",
  "packed10",
  "y10",
  "uint16",
  "e4m3",
  "int32",
  "uint32",
  "int64",
  "uint64",
  "raw12",
  "y12",
  "int4",
];

/** The name of an element type number; `type 99` where it is not known. */
export function elementTypeName(code: number): string {
  return ELEMENT_TYPES[code] ?? `type ${code}`;
}

const SYMBOL_BYTES = 16;
const NAME_LIMIT = 4096;

/** Reads `nlist_64` entries; `texts` is the string table. Throws `InspectError` for a name outside it. */
export function readSymbols(table: ByteView, texts: ByteView, count: number): HwxSymbol[] {
  return Array.from({ length: count }, (_, index) => {
    const at = table.start + index * SYMBOL_BYTES;
    const field = `symbol ${index}.n_strx`;
    const nameAt = table.u32(at, field);
    if (nameAt > texts.bytes.byteLength) {
      throw table.fail(
        "inspect.range",
        at,
        field,
        `${nameAt}, the string table has ${texts.bytes.byteLength} bytes`,
      );
    }
    const name = texts.text(texts.start + nameAt, texts.start + nameAt + NAME_LIMIT, field);
    const tensor = tensorOf(name);
    return {
      name,
      type: table.u8(at + 4, "symbol.n_type"),
      section: table.u8(at + 5, "symbol.n_sect"),
      description: table.u16(at + 6, "symbol.n_desc"),
      address: table.u64(at + 8, `symbol ${index}.n_value`),
      ...(tensor === undefined ? {} : { tensor }),
    };
  });
}

/**
 * Reads a debug entry such as `A:t16=ar1;0;1;17=s128n:ar1;0;2;18=s64h:5`: one `ar1;first;end;type=s<bytes><axis>`
 * a dimension, outermost first, then the element type's number.
 */
function tensorOf(text: string): HwxSymbolTensor | undefined {
  const head = /^(.*):t\d+=(?=ar1;)/.exec(text);
  if (head === null) return undefined;
  const parts = text.slice(head[0].length).split(":");
  const dimensions = parts.slice(0, -1).map((part) => {
    const match = /^ar1;(\d+);(\d+);\d+=s(\d+)([a-z])$/.exec(part);
    if (match === null) return undefined;
    const [, first = "0", end = "0", stride = "0", axis = "?"] = match;
    return { axis, size: Number(end) - Number(first), strideBytes: Number(stride) };
  });
  const element = Number(parts.at(-1));
  if (dimensions.some((one) => one === undefined) || !Number.isInteger(element)) return undefined;
  return {
    name: head[1] ?? "",
    elementType: elementTypeName(element),
    dimensions: dimensions.filter((one) => one !== undefined),
  };
}
