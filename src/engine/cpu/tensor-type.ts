import type { DataType } from "../../mil/types.ts";
import { EngineError } from "../errors.ts";

/** How onnxruntime-node calls an element type, and the array class it wants. */
export function ortType(dataType: DataType): {
  readonly name: string;
  readonly arrayClass: new (
    buffer: ArrayBuffer,
    byteOffset: number,
    length: number,
  ) => ArrayBufferView;
} {
  switch (dataType) {
    case "fp32":
      return { name: "float32", arrayClass: Float32Array };
    case "fp64":
      return { name: "float64", arrayClass: Float64Array };
    case "fp16":
      return { name: "float16", arrayClass: Uint16Array };
    case "int8":
      return { name: "int8", arrayClass: Int8Array };
    case "int16":
      return { name: "int16", arrayClass: Int16Array };
    case "int32":
      return { name: "int32", arrayClass: Int32Array };
    case "int64":
      return { name: "int64", arrayClass: BigInt64Array };
    case "uint8":
      return { name: "uint8", arrayClass: Uint8Array };
    case "uint16":
      return { name: "uint16", arrayClass: Uint16Array };
    case "uint32":
      return { name: "uint32", arrayClass: Uint32Array };
    case "uint64":
      return { name: "uint64", arrayClass: BigUint64Array };
    case "bool":
      return { name: "bool", arrayClass: Uint8Array };
    default:
      throw new EngineError("engine.cpu.type", `the CPU engine has no buffers of ${dataType}`);
  }
}
