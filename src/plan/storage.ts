import { elementCount, tensorType } from "../mil/types.ts";
import type { TensorType } from "../mil/types.ts";
import { PlanError } from "./errors.ts";

/** Types in which a group's scale and bias may stand. */
export type ScaleType = "fp32" | "fp16" | "bf16";

/**
 * Whole numbers of 4 or 8 bits in groups of neighbours along the last axis:
 * number = (code - zeroPoint) * scale + bias, each step rounded to fp32. Codes count from 0; two of 4 bits share a
 * byte, the first one in its low half. MLX's affine quantization is `zeroPoint` 0 with biases; GGUF's Q4_0 is 32 codes
 * a group, `zeroPoint` 8, fp16 scales, no biases; Q8_0 the same with 8 bits and `zeroPoint` 128.
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
export type Storage = { readonly kind: ScaleType } | GroupedStorage;

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

/** The buffers that hold a tensor: its numbers or their codes, and a grouped one's scales and biases. */
export interface StoredTypes {
  readonly codes: TensorType;
  readonly scales?: TensorType;
  readonly biases?: TensorType;
}

/**
 * Types of the buffers that a tensor [..., C] takes. MIL has no operation on bf16, so those stand as uint16 patterns;
 * codes stand as uint8 [..., C] or, two in a byte, [..., C/2].
 * Throws `PlanError` for a tensor whose last axis is not made of whole groups, and for groups of an odd size.
 */
export function storedTypes(name: string, shape: readonly number[], storage: Storage): StoredTypes {
  if (!isGrouped(storage)) return { codes: tensorType(PATTERN_TYPES[storage.kind], shape) };
  const { kind, groupSize, scaleType, hasBiases, zeroPoint } = storage;
  const refuse = (problem: string): never => {
    throw new PlanError("plan.storage", `"${name}" as ${formatStorage(storage)}: ${problem}`);
  };
  const columns = shape.at(-1) ?? 0;
  if (!Number.isInteger(groupSize) || groupSize < 2 || groupSize % 2 !== 0)
    refuse("a group must have an even number of members");
  if (!Number.isInteger(zeroPoint) || zeroPoint < 0 || zeroPoint > largestCode(storage))
    refuse(`its zero point ${zeroPoint} is no code`);
  if (elementCount(shape) === 0 || columns % groupSize !== 0)
    refuse(`its last axis of ${columns} is not made of whole groups`);
  const leading = shape.slice(0, -1);
  const codes = tensorType("uint8", [...leading, kind === "int4" ? columns / 2 : columns]);
  const scales = tensorType(PATTERN_TYPES[scaleType], [...leading, columns / groupSize]);
  return { codes, scales, ...(hasBiases && { biases: scales }) };
}

const PATTERN_TYPES = { fp32: "fp32", fp16: "fp16", bf16: "uint16" } as const;

/** Codes are 0 to this one. */
export function largestCode({ kind }: GroupedStorage): number {
  return kind === "int4" ? 15 : 255;
}

/** Whether two storages hold numbers in the same bits. */
export function isSameStorage(a: Storage, b: Storage): boolean {
  if (!isGrouped(a) || !isGrouped(b)) return a.kind === b.kind;
  return (
    a.kind === b.kind &&
    a.groupSize === b.groupSize &&
    a.scaleType === b.scaleType &&
    a.zeroPoint === b.zeroPoint &&
    a.hasBiases === b.hasBiases
  );
}
