import { numbersAs } from "../mil/literal.ts";
import type { NumericData } from "../mil/program.ts";
import { DATA_TYPE_BITS } from "../mil/types.ts";
import type { DataType } from "../mil/types.ts";
import { float32ToFloat16 } from "../util/float16.ts";
import { OnnxError } from "./errors.ts";

/** A literal's numbers as the little-endian bytes of an ONNX tensor of the given type. */
export function numericArrayBytes(dataType: DataType, numbers: NumericData): Uint8Array {
  const array = asStored(dataType, numbers);
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

function asStored(dataType: DataType, numbers: NumericData): NumericData {
  if (dataType === "fp16") {
    const source = numbers instanceof Float32Array ? numbers : Float32Array.from(numbers, Number);
    const bits = new Uint16Array(source.length);
    float32ToFloat16(source, bits);
    return bits;
  }
  const typed = numbersAs(dataType, numbers);
  if (8 * typed.BYTES_PER_ELEMENT !== DATA_TYPE_BITS[dataType])
    throw new OnnxError("onnx.constant", `constants of type ${dataType} cannot be written`);
  return typed;
}
