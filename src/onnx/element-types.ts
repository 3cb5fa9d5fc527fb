import type { DataType } from "../mil/types.ts";
import { OnnxError } from "./errors.ts";
import { codeOf } from "./type-codes.ts";

/** ONNX's code of a MIL element type. Throws `OnnxError` where ONNX has none that runtimes compute with. */
export function elementTypeOf(dataType: DataType): number {
  const code = codeOf(dataType);
  if (code === undefined) {
    throw new OnnxError("onnx.type", `ONNX programs do not compute with ${dataType}`, {
      remedy: "Dequantize the constant first.",
    });
  }
  return code;
}

/**
 * The type a value has while ONNX Runtime computes. Its x86 kernels take fp16 only through casts around every
 * node and small integers hardly at all, so fp16 is held as fp32 from a function's inputs to its outputs
 * (fewer roundings than the program declares, never more) and small integers as int32, wrapped after arithmetic.
 */
export function computeTypeOf(dataType: DataType): DataType {
  switch (dataType) {
    case "fp16":
    case "bf16":
      return "fp32";
    case "int8":
    case "int16":
    case "uint8":
    case "uint16":
      return "int32";
    case "uint32":
    case "uint64":
      return "int64";
    default:
      return dataType;
  }
}
