import { elementCount, staticShape } from "../../mil/types.ts";
import type { DataType } from "../../mil/types.ts";
import { computeTypeOf } from "../../onnx/element-types.ts";
import type { BufferSpec } from "../../plan/plan.ts";
import { bfloat16Bits, bfloat16ToFloat32 } from "../../util/bfloat16.ts";
import { roundTo } from "../../mil/host-tensor.ts";
import { float16ToFloat32, float32ToFloat16 } from "../../util/float16.ts";
import type { BufferView } from "../engine.ts";
import { viewClassFor } from "../engine.ts";
import { EngineError } from "../errors.ts";

/**
 * The type in which a buffer's elements stand on the device. WebGPU's kernels take fp32, int32 and bool: fp16 and bf16
 * stand as fp32, small integers as int32, and are what the type says again when the host looks at them.
 * Throws `EngineError` `engine.gpu.type` for wider types.
 */
export function deviceTypeOf({ name, type: { dataType } }: BufferSpec): DataType {
  const held = computeTypeOf(dataType);
  if (held === "fp32" || held === "int32" || held === "bool") return held;
  throw new EngineError(
    "engine.gpu.type",
    `buffer "${name}" is ${dataType}, and the GPU engine has no numbers of 64 bits and no uint32`,
    { remedy: "Use --engine cpu or --engine reference." },
  );
}

/** Bytes that a buffer takes on the device. */
export function deviceBytes(spec: BufferSpec): number {
  const width = deviceTypeOf(spec) === "bool" ? 1 : 4;
  return width * elementCount(staticShape(spec.type));
}

/** Whether the host's elements are the device's, byte by byte. */
export function isPlain(spec: BufferSpec): boolean {
  return deviceTypeOf(spec) === spec.type.dataType;
}

/** Elements as the device holds them. */
export function toDevice(dataType: DataType, view: BufferView): Uint8Array {
  switch (dataType) {
    case "fp16": {
      const numbers = new Float32Array(view.length);
      if (view instanceof Uint16Array) float16ToFloat32(view, numbers);
      return bytesOf(numbers);
    }
    case "bf16": {
      const numbers = new Float32Array(view.length);
      if (view instanceof Uint16Array) bfloat16ToFloat32(view, numbers);
      return bytesOf(numbers);
    }
    case "int8":
    case "int16":
    case "uint8":
    case "uint16":
      return bytesOf(Int32Array.from(view));
    default:
      return bytesOf(view);
  }
}

/** What the device holds as the host's elements: floats are rounded to their type, integers hold it already. */
export function fromDevice(dataType: DataType, bytes: Uint8Array, view: BufferView): void {
  const { buffer, byteOffset } = bytes;
  switch (dataType) {
    case "fp16":
      if (view instanceof Uint16Array)
        float32ToFloat16(new Float32Array(buffer, byteOffset, view.length), view);
      return;
    case "bf16": {
      const numbers = new Float32Array(buffer, byteOffset, view.length);
      for (const [index, number] of numbers.entries())
        view[index] = bfloat16Bits(roundTo("bf16", number));
      return;
    }
    default:
      view.set(new Int32Array(buffer, byteOffset, view.length));
  }
}

/** A host's copy of a buffer: memory that no other thread sees, because it is current only when it is asked for. */
export function hostCopy({ type }: BufferSpec): BufferView {
  const length = elementCount(staticShape(type));
  const arrayClass = viewClassFor(type.dataType);
  return new arrayClass(new ArrayBuffer(length * arrayClass.BYTES_PER_ELEMENT), 0, length);
}

export function bytesOf(view: ArrayBufferView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}
