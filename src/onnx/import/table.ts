import { IMPORT_ELEMENTWISE } from "./elementwise.ts";
import { IMPORT_GATHER_SCATTER } from "./gather-scatter.ts";
import { IMPORT_LINEAR } from "./linear.ts";
import { IMPORT_NORMALIZATION } from "./normalization.ts";
import { IMPORT_QUANTIZATION } from "./quantization.ts";
import { IMPORT_REDUCTION } from "./reduction.ts";
import { IMPORT_SHAPES } from "./shapes.ts";
import type { Import } from "./site.ts";
import { IMPORT_WINDOWS } from "./windows.ts";

/** What every ONNX operator that can be imported becomes, keyed by its name. */
export const IMPORTERS: Readonly<Record<string, Import>> = {
  ...IMPORT_ELEMENTWISE,
  ...IMPORT_LINEAR,
  ...IMPORT_WINDOWS,
  ...IMPORT_NORMALIZATION,
  ...IMPORT_REDUCTION,
  ...IMPORT_SHAPES,
  ...IMPORT_GATHER_SCATTER,
  ...IMPORT_QUANTIZATION,
};

const ROWS: ReadonlyMap<string, Import> = new Map(Object.entries(IMPORTERS));

export function importerOf(opType: string): Import | undefined {
  return ROWS.get(opType);
}
