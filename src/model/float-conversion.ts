import { bfloat16ToFloat32, float32ToBfloat16 } from "../util/bfloat16.ts";
import type { ByteSource } from "../util/byte-source.ts";
import { float16ToFloat32, float32ToFloat16 } from "../util/float16.ts";

/** Element types weights are stored in, by safetensors' names. */
export type StoredFloat = "F32" | "F16" | "BF16";

export function isStoredFloat(name: string): name is StoredFloat {
  return name === "F32" || name === "F16" || name === "BF16";
}

/** Fills `target` from stored bytes, little-endian. */
export function decodeFloats(bytes: Uint8Array, type: StoredFloat, target: Float32Array): void {
  switch (type) {
    case "F32":
      new Uint8Array(target.buffer, target.byteOffset, target.byteLength).set(bytes);
      break;
    case "F16":
      float16ToFloat32(halfWords(bytes), target);
      break;
    case "BF16":
      bfloat16ToFloat32(halfWords(bytes), target);
      break;
  }
}

/** Fills `target` from fp32 numbers at `offset` of a file, without a copy between. */
export function readFloats(source: ByteSource, offset: number, target: Float32Array): void {
  const { buffer, byteOffset, byteLength } = target;
  source.readInto(offset, new Uint8Array(buffer, byteOffset, byteLength));
}

/** The stored bytes of some numbers, little-endian. */
export function encodeFloats(source: Float32Array, type: StoredFloat): Uint8Array {
  if (type === "F32") return new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
  const half = new Uint16Array(source.length);
  if (type === "F16") float32ToFloat16(source, half);
  else float32ToBfloat16(source, half);
  return new Uint8Array(half.buffer);
}

function halfWords(bytes: Uint8Array): Uint16Array {
  const aligned = bytes.byteOffset % 2 === 0 ? bytes : bytes.slice();
  return new Uint16Array(aligned.buffer, aligned.byteOffset, aligned.byteLength / 2);
}
