// Numbers to and from their storage: over whole rows, in any pieces that are made of whole groups.
import { bfloat16ToFloat32, float32ToBfloat16 } from "../util/bfloat16.ts";
import { float16ToFloat32, float32ToFloat16 } from "../util/float16.ts";
import { PlanError } from "./errors.ts";
import { formatStorage, isGrouped, largestCode } from "./storage.ts";
import type { GroupedStorage, ScaleType, Storage } from "./storage.ts";

/** An array of fp32 numbers, of 16-bit patterns, or of codes. */
export type StoredArray = Float32Array | Uint16Array | Uint8Array;

export function isStoredArray(array: object): array is StoredArray {
  return (
    array instanceof Float32Array || array instanceof Uint16Array || array instanceof Uint8Array
  );
}

/** A tensor as it is stored, or a piece of it. */
export interface StoredNumbers {
  readonly codes: StoredArray;
  readonly scales?: StoredArray | undefined;
  readonly biases?: StoredArray | undefined;
}

/** The stored form of `count` numbers from `start` on, both multiples of the group's size. */
export function storedPart(
  { codes, scales, biases }: StoredNumbers,
  storage: Storage,
  start: number,
  count: number,
): StoredNumbers {
  if (!isGrouped(storage)) return { codes: codes.subarray(start, start + count) };
  const { kind, groupSize } = storage;
  const perByte = kind === "int4" ? 2 : 1;
  const end = start + count;
  return {
    codes: codes.subarray(start / perByte, end / perByte),
    scales: scales?.subarray(start / groupSize, end / groupSize),
    biases: biases?.subarray(start / groupSize, end / groupSize),
  };
}

/** Stored numbers as fp32. Each step is rounded to fp32, as the MIL function of unpack.ts says. */
export function unpackNumbers(
  storage: Storage,
  { codes, scales, biases }: StoredNumbers,
  target: Float32Array,
): void {
  if (!isGrouped(storage)) {
    readFloats(storage.kind, codes, target);
    return;
  }
  const { groupSize, scaleType, zeroPoint, kind } = storage;
  const groupCount = target.length / groupSize;
  const scale = floatsOf(scaleType, scales, groupCount);
  const bias = storage.hasBiases ? floatsOf(scaleType, biases, groupCount) : undefined;
  const numbers = new Float32Array(largestCode(storage) + 1);
  const byCode = kind === "int4";
  for (let group = 0; group < groupCount; group++) {
    const factor = scale[group] ?? 0;
    const addend = bias?.[group];
    const start = group * groupSize;
    const end = start + groupSize;
    if (byCode) {
      for (let code = 0; code < 16; code++)
        numbers[code] = numberOf(code - zeroPoint, factor, addend);
      for (let i = start; i < end; i += 2) {
        const byte = codes[i >> 1] ?? 0;
        target[i] = numbers[byte & 15] ?? 0;
        target[i + 1] = numbers[byte >> 4] ?? 0;
      }
    } else if (addend === undefined) {
      for (let i = start; i < end; i++) target[i] = ((codes[i] ?? 0) - zeroPoint) * factor;
    } else {
      for (let i = start; i < end; i++)
        target[i] = Math.fround(((codes[i] ?? 0) - zeroPoint) * factor) + addend;
    }
  }
}

function numberOf(steps: number, scale: number, bias: number | undefined): number {
  const product = Math.fround(steps * scale);
  return bias === undefined ? product : product + bias;
}

/**
 * Numbers into their storage. Groups with biases are laid between their extremes, the one of larger magnitude and 0
 * exact, as MLX does; those without get the scale that meets their number of largest magnitude, as GGUF's Q4_0 and
 * Q8_0. Each number gets the code nearest to it under the scale as it is stored.
 */
export function packNumbers(storage: Storage, numbers: Float32Array, target: StoredNumbers): void {
  if (!isGrouped(storage)) {
    writeFloats(storage.kind, numbers, target.codes);
    return;
  }
  const { groupSize, scaleType, zeroPoint, kind } = storage;
  const groupCount = numbers.length / groupSize;
  const scales = new Float32Array(groupCount);
  const biases = new Float32Array(groupCount);
  for (let group = 0; group < groupCount; group++) {
    const members = numbers.subarray(group * groupSize, (group + 1) * groupSize);
    const { scale, bias } = storage.hasBiases
      ? affineGroup(members, largestCode(storage))
      : centredGroup(members, storage);
    scales[group] = scale;
    biases[group] = bias;
  }
  const storedScales = stored(target.scales);
  writeFloats(scaleType, scales, storedScales);
  readFloats(scaleType, storedScales, scales);
  if (storage.hasBiases) {
    const storedBiases = stored(target.biases);
    writeFloats(scaleType, biases, storedBiases);
    readFloats(scaleType, storedBiases, biases);
  }
  const odd = scales.findIndex((scale, group) => !Number.isFinite(scale + (biases[group] ?? 0)));
  if (odd >= 0) {
    throw new PlanError(
      "plan.storage",
      `numbers ${odd * groupSize} to ${(odd + 1) * groupSize - 1} cannot be held by ${formatStorage(storage)}: ${numbers[odd * groupSize]}, ...`,
      { remedy: "Store this weight as fp32, or take fp32 or bf16 scales." },
    );
  }
  const { codes } = target;
  const last = largestCode(storage);
  const codeAt = (i: number): number => {
    const group = Math.floor(i / groupSize);
    const scale = scales[group] ?? 0;
    const steps = scale === 0 ? 0 : ((numbers[i] ?? 0) - (biases[group] ?? 0)) / scale;
    return Math.min(last, Math.max(0, Math.round(steps + zeroPoint)));
  };
  if (kind === "int8") for (let i = 0; i < numbers.length; i++) codes[i] = codeAt(i);
  else {
    for (let i = 0; i < numbers.length; i += 2) codes[i >> 1] = codeAt(i) | (codeAt(i + 1) << 4);
  }
}

interface GroupScale {
  readonly scale: number;
  readonly bias: number;
}

function affineGroup(members: Float32Array, last: number): GroupScale {
  let low = Infinity;
  let high = -Infinity;
  for (const number of members) {
    low = Math.min(low, number);
    high = Math.max(high, number);
  }
  const width = Math.max((high - low) / last, SMALLEST_SCALE);
  const isLow = Math.abs(low) > Math.abs(high);
  const edge = isLow ? low : high;
  const step = isLow ? width : -width;
  // The edge lies a whole number of steps from 0, so that 0 has a code.
  const steps = Math.round(edge / step);
  return steps === 0 ? { scale: step, bias: 0 } : { scale: edge / steps, bias: edge };
}

/** MLX's least scale: groups of equal numbers keep a finite one. */
const SMALLEST_SCALE = 1e-7;

function centredGroup(members: Float32Array, storage: GroupedStorage): GroupScale {
  let extreme = 0;
  for (const number of members) if (!(Math.abs(number) <= Math.abs(extreme))) extreme = number;
  const { kind, zeroPoint } = storage;
  // One more step below the zero point than above it: with 4 bits the extreme takes the far one, as in Q4_0.
  const scale =
    kind === "int4" && zeroPoint > 0
      ? -extreme / zeroPoint
      : Math.abs(extreme) / Math.max(1, largestCode(storage) - zeroPoint);
  return { scale, bias: 0 };
}

function floatsOf(type: ScaleType, array: StoredArray | undefined, count: number): Float32Array {
  const held = stored(array);
  if (held instanceof Float32Array) return held;
  const numbers = new Float32Array(count);
  readFloats(type, held, numbers);
  return numbers;
}

function readFloats(type: ScaleType, source: StoredArray, target: Float32Array): void {
  if (source instanceof Float32Array && type === "fp32") target.set(source);
  else if (source instanceof Uint16Array && type === "fp16") float16ToFloat32(source, target);
  else if (source instanceof Uint16Array && type === "bf16") bfloat16ToFloat32(source, target);
  else throw unsuited(type);
}

function writeFloats(type: ScaleType, source: Float32Array, target: StoredArray): void {
  if (target instanceof Float32Array && type === "fp32") target.set(source);
  else if (target instanceof Uint16Array && type === "fp16") float32ToFloat16(source, target);
  else if (target instanceof Uint16Array && type === "bf16") float32ToBfloat16(source, target);
  else throw unsuited(type);
}

function stored(array: StoredArray | undefined): StoredArray {
  if (array === undefined) throw new PlanError("plan.storage", "scales or biases are missing");
  return array;
}

function unsuited(type: ScaleType): PlanError {
  return new PlanError("plan.storage", `an array is not one of ${type} numbers`);
}
