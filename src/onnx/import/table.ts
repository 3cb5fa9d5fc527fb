import { IMPORT_ATTENTION, IMPORT_PREVIEW } from "./attention.ts";
import { IMPORT_BITS } from "./bits.ts";
import { IMPORT_CASTS } from "./casts.ts";
import { IMPORT_CONTROL_FLOW } from "./control-flow.ts";
import { IMPORT_DETECTION } from "./detection.ts";
import { IMPORT_ELEMENTWISE } from "./elementwise.ts";
import { IMPORT_GATHER_SCATTER } from "./gather-scatter.ts";
import { IMPORT_LINEAR } from "./linear.ts";
import { IMPORT_LOSSES } from "./losses.ts";
import { IMPORT_NORMALIZATION } from "./normalization.ts";
import { IMPORT_QUANTIZATION } from "./quantization.ts";
import { IMPORT_RECURRENT } from "./recurrent.ts";
import { IMPORT_REDUCTION } from "./reduction.ts";
import { IMPORT_SAMPLING } from "./sampling.ts";
import { IMPORT_SHAPES } from "./shapes.ts";
import type { Import } from "./site.ts";
import { IMPORT_WINDOWS } from "./windows.ts";

/** What every ONNX operator that can be imported becomes, keyed by its name. */
export const IMPORTERS: Readonly<Record<string, Import>> = {
  ...IMPORT_ATTENTION,
  ...IMPORT_BITS,
  ...IMPORT_CASTS,
  ...IMPORT_CONTROL_FLOW,
  ...IMPORT_DETECTION,
  ...IMPORT_ELEMENTWISE,
  ...IMPORT_LINEAR,
  ...IMPORT_WINDOWS,
  ...IMPORT_LOSSES,
  ...IMPORT_NORMALIZATION,
  ...IMPORT_RECURRENT,
  ...IMPORT_REDUCTION,
  ...IMPORT_SAMPLING,
  ...IMPORT_SHAPES,
  ...IMPORT_GATHER_SCATTER,
  ...IMPORT_QUANTIZATION,
};

/** Operators of other domains than ONNX's own, which may have other meanings under the same names. */
const DOMAINS: Readonly<Record<string, Readonly<Record<string, Import>>>> = {
  "": IMPORTERS,
  "ai.onnx": IMPORTERS,
  "ai.onnx.preview": IMPORT_PREVIEW,
  "com.microsoft": only(
    "BiasGelu",
    "DequantizeLinear",
    "FastGelu",
    "FusedMatMul",
    "Gelu",
    "QuantizeLinear",
    "QuickGelu",
    "SimplifiedLayerNormalization",
    "SkipLayerNormalization",
    "SkipSimplifiedLayerNormalization",
    "Trilu",
  ),
};

function only(...names: readonly (keyof typeof IMPORTERS)[]): Readonly<Record<string, Import>> {
  return Object.fromEntries(
    names.flatMap((name) => {
      const importer = IMPORTERS[name];
      return importer === undefined ? [] : [[name, importer]];
    }),
  );
}

export function importerOf(domain: string, opType: string): Import | undefined {
  const rows = Object.hasOwn(DOMAINS, domain) ? DOMAINS[domain] : undefined;
  return rows !== undefined && Object.hasOwn(rows, opType) ? rows[opType] : undefined;
}
