import { float16Value } from "../../util/float16.ts";
import type { FieldPlace, RegisterPlace } from "./map/types.ts";

/** What a field's bits say: the number in its unit, and a word for it where the code is known. */
export interface FieldMeaning {
  readonly value: number;
  readonly unit?: string;
  readonly code?: string;
}

/** Element formats of ChCfg. */
export const ELEMENT_FORMATS: readonly (string | undefined)[] = ["int8", "uint8", "fp16"];
export const NE_OPERATIONS: readonly (string | undefined)[] = [
  "conv",
  "elementwise",
  "rcas",
  "elementwise sqrt",
  "bypass",
  "transposed conv",
];
export const PE_OPERATIONS: readonly (string | undefined)[] = ["add", "mul", "max", "min"];
export const PE_CONDITIONS: readonly (string | undefined)[] = [
  "none",
  "abs",
  "equal",
  "greater",
  "greater_equal",
  "less_equal",
  "less",
  "not_equal",
];
export const POOL_MODES: readonly (string | undefined)[] = ["none", "avg", "max", "min"];
export const NE_NONLINEARITIES: readonly (string | undefined)[] = ["none", "relu", "lut"];
export const PE_NONLINEARITIES: readonly (string | undefined)[] = ["none", "relu", "clamp", "abs"];
export const TASK_TYPES: readonly (string | undefined)[] = [
  "conv",
  "pool",
  "copy",
  "elementwise",
  "reduce",
  "reduce",
  "reduce",
];
const CACHE_HINTS: readonly (string | undefined)[] = [
  "alloc",
  undefined,
  "no-alloc",
  "drop",
  "depri",
];
const SECOND_SOURCES: readonly (string | undefined)[] = ["primary", "texture", "L2", "register"];
const KERNEL_FORMATS: readonly (string | undefined)[] = [undefined, "int8", "fp16"];
const DMA_FORMATS: readonly (string | undefined)[] = ["8 bit", "16 bit", undefined, "32 bit"];

/** DMA format words without Interleave, CmpVec and the zero-pad bits. */
const SURFACE_FORMATS: ReadonlyMap<number, string> = new Map([
  [0x2031, "fp16"],
  [0x2030, "fp16"],
  [0x3103, "fp32"],
  [0x1000, "int8"],
  [0x0000, "uint8"],
  [0x3002, "int16"],
  [0x2011, "raw12"],
  [0x0111, "y12"],
  [0x0102, "packed10"],
  [0x0131, "raw10"],
  [0x2131, "raw10 or y10"],
  [0x1131, "y10"],
]);

/** The element type a tile DMA format word names, or undefined. */
export function surfaceFormat(word: number): string | undefined {
  return SURFACE_FORMATS.get(word & 0xffff);
}

interface MeaningRule {
  readonly unit?: string;
  readonly codes?: readonly (string | undefined)[];
  readonly convert?: (raw: number) => number;
}

/** Rules by `Register.Field`, `Block.Field` or `Field`; the most exact one counts. */
const RULES: ReadonlyMap<string, MeaningRule> = new Map<string, MeaningRule>([
  ...each(["Win", "Wout", "Px", "Py", "PadLeft", "PadTop", "PadBottom"], { unit: "pixels" }),
  ...each(["Hin", "Hout", "TileHeight", "Overlap"], { unit: "rows" }),
  ...each(["Din", "Dout", "Pz", "3dPz"], { unit: "slices" }),
  ...each(["Cin", "Cout", "UnicastCin"], { unit: "channels" }),
  ...each(["Kw", "Kh", "Kd", "KW", "KH", "3dKd"], { unit: "taps" }),
  ...each(["Sx", "Sy", "Sz", "SX", "SY", "3dSz"], { unit: "pixels a step" }),
  ...each(["NumGroups"], { unit: "groups" }),
  ...each(["InFmt", "Src2InFmt", "OutFmt"], { codes: ELEMENT_FORMATS }),
  ...each(["CacheHint", "CacheHintReuse", "CacheHintNoReuse"], { codes: CACHE_HINTS }),
  ...each(["PoolMode"], { codes: POOL_MODES }),
  ...each(["PE.OpMode", "PE.Operation"], { codes: PE_OPERATIONS }),
  ...each(["PE.Condition"], { codes: PE_CONDITIONS }),
  ...each(["PE.NLMode"], { codes: PE_NONLINEARITIES }),
  ...each(["PE.SecSrc", "PE.Src2Sel"], { codes: SECOND_SOURCES }),
  ...each(["NE.OpMode"], { codes: NE_OPERATIONS }),
  ...each(["NE.NonlinearMode", "NE.NLMode"], { codes: NE_NONLINEARITIES }),
  ...each(["NE.KernelFmt", "NE.Fmt"], { codes: KERNEL_FORMATS }),
  ...each(["PalettizedBits", "PalBits", "BinaryPoint", "BinPoint"], { unit: "bits" }),
  ...each(["TaskType"], { codes: TASK_TYPES }),
  ...each(["DMAFmt"], { codes: DMA_FORMATS }),
  ...each(["ActiveNE"], { unit: "cores", convert: (raw) => 2 ** raw }),
  ...each(
    [
      "MatrixVectorBias.Bias",
      "BiasScale.Bias",
      "Scale",
      "PreScale",
      "NE.PostScale",
      "BiasVal",
      "ScaleVal",
    ],
    {
      unit: "fp16",
      convert: float16Value,
    },
  ),
  ...each(["FinalScaleF32", "FinalScale.Value"], { unit: "fp32", convert: float32Value }),
  ...each(["AddrHi"], { unit: "x 4 GiB" }),
  ...each(["AddrLo"], { unit: "bytes" }),
]);

function* each(
  names: readonly string[],
  rule: MeaningRule,
): Iterable<readonly [string, MeaningRule]> {
  for (const name of names) yield [name, rule];
}

const SCALED = new Set(["Addr", "Stride", "Size", "MemBfrSize"]);
const scratch = new DataView(new ArrayBuffer(4));

function float32Value(bits: number): number {
  scratch.setUint32(0, bits);
  return scratch.getFloat32(0);
}

/** Gives a field's raw bits their unit: addresses, strides and sizes in bytes, formats as words. */
export function fieldMeaning(
  register: RegisterPlace,
  field: FieldPlace,
  raw: number,
): FieldMeaning {
  if (SCALED.has(field.name)) {
    if (register.name.endsWith("Hi")) return { value: raw, unit: "x 4 GiB" };
    return { value: raw * 2 ** field.low, unit: "bytes" };
  }
  const plain = register.name.replace(/\[\d+\]$/, "");
  const rule =
    RULES.get(`${plain}.${field.name}`) ??
    RULES.get(`${register.block}.${field.name}`) ??
    RULES.get(field.name);
  if (rule === undefined) return { value: raw };
  const value = rule.convert === undefined ? raw : rule.convert(raw);
  const code = rule.codes === undefined ? undefined : rule.codes[raw];
  return {
    value,
    ...(rule.unit === undefined ? {} : { unit: rule.unit }),
    ...(code === undefined ? {} : { code }),
  };
}
