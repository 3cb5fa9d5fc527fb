/** Types in which a group's scale and bias may stand. */
export type ScaleType = "fp32" | "fp16" | "bf16";

/**
 * Whole numbers of 4 or 8 bits in groups of neighbours along the last axis:
 * number = (code - zeroPoint) * scale + bias. Codes count from 0; two of 4 bits share a byte, the first one in its
 * low half. MLX's affine quantization is `zeroPoint` 0 with biases; GGUF's Q4_0 is 32 codes a group, `zeroPoint` 8,
 * fp16 scales, no biases; Q8_0 the same with 8 bits and `zeroPoint` 128.
 */
export interface GroupedStorage {
  readonly kind: "int4" | "int8";
  /** Numbers that share a scale. */
  readonly groupSize: number;
  readonly scaleType: ScaleType;
  readonly zeroPoint: number;
  /** Each group has an addend of its own, in the scales' type. */
  readonly hasBiases: boolean;
}

/** How a weight's numbers stand in memory. What computes on them reads fp32. */
export type Storage = { readonly kind: "fp32" | "fp16" | "bf16" } | GroupedStorage;

export const FP32: Storage = Object.freeze({ kind: "fp32" });

export function isGrouped(storage: Storage): storage is GroupedStorage {
  return storage.kind === "int4" || storage.kind === "int8";
}

/** `int4 in groups of 64, fp16 scales and biases`. */
export function formatStorage(storage: Storage): string {
  if (!isGrouped(storage)) return storage.kind;
  const { kind, groupSize, scaleType, hasBiases } = storage;
  return `${kind} in groups of ${groupSize}, ${scaleType} scales${hasBiases ? " and biases" : ""}`;
}
