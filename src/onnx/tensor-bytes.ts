import type { NumericData } from "../mil/program.ts";
import type { DataType } from "../mil/types.ts";
import { float32ToFloat16 } from "../util/float16.ts";
import { OnnxError } from "./errors.ts";

/** A literal's numbers as the little-endian bytes of an ONNX tensor of the given type. */
export function numericArrayBytes(dataType: DataType, numbers: NumericData): Uint8Array {
  const array = asStored(dataType, numbers);
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

function asStored(dataType: DataType, numbers: NumericData): NumericData {
  switch (dataType) {
    case "fp16": {
      const source = numbers instanceof Float32Array ? numbers : Float32Array.from(numbers, Number);
      const bits = new Uint16Array(source.length);
      float32ToFloat16(source, bits);
      return bits;
    }
    case "fp32":
      return numbers instanceof Float32Array ? numbers : Float32Array.from(numbers, Number);
    case "fp64":
      return numbers instanceof Float64Array ? numbers : Float64Array.from(numbers, Number);
    case "int8":
      return numbers instanceof Int8Array ? numbers : Int8Array.from(numbers, Number);
    case "int16":
      return numbers instanceof Int16Array ? numbers : Int16Array.from(numbers, Number);
    case "int32":
      return numbers instanceof Int32Array ? numbers : Int32Array.from(numbers, Number);
    case "int64":
      return numbers instanceof BigInt64Array ? numbers : BigInt64Array.from(numbers, BigInt);
    case "uint8":
    case "bool":
      return numbers instanceof Uint8Array ? numbers : Uint8Array.from(numbers, Number);
    case "uint16":
      return numbers instanceof Uint16Array ? numbers : Uint16Array.from(numbers, Number);
    case "uint32":
      return numbers instanceof Uint32Array ? numbers : Uint32Array.from(numbers, Number);
    case "uint64":
      return numbers instanceof BigUint64Array ? numbers : BigUint64Array.from(numbers, BigInt);
    default:
      throw new OnnxError("onnx.constant", `constants of type ${dataType} cannot be written`);
  }
}
