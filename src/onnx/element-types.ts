import type { DataType } from "../mil/types.ts";
import { OnnxError } from "./errors.ts";
import { TensorProto_DataType } from "./generated/onnx_pb.ts";

/** ONNX's code of a MIL element type. Throws `OnnxError` where ONNX has none that runtimes compute with. */
export function elementTypeOf(dataType: DataType): number {
  switch (dataType) {
    case "fp16":
      return TensorProto_DataType.FLOAT16;
    case "fp32":
      return TensorProto_DataType.FLOAT;
    case "fp64":
      return TensorProto_DataType.DOUBLE;
    case "bf16":
      return TensorProto_DataType.BFLOAT16;
    case "int8":
      return TensorProto_DataType.INT8;
    case "int16":
      return TensorProto_DataType.INT16;
    case "int32":
      return TensorProto_DataType.INT32;
    case "int64":
      return TensorProto_DataType.INT64;
    case "uint8":
      return TensorProto_DataType.UINT8;
    case "uint16":
      return TensorProto_DataType.UINT16;
    case "uint32":
      return TensorProto_DataType.UINT32;
    case "uint64":
      return TensorProto_DataType.UINT64;
    case "bool":
      return TensorProto_DataType.BOOL;
    case "string":
      return TensorProto_DataType.STRING;
    case "fp8e4m3fn":
    case "fp8e5m2":
    case "int4":
    case "uint1":
    case "uint2":
    case "uint3":
    case "uint4":
    case "uint6":
      throw new OnnxError("onnx.type", `ONNX programs do not compute with ${dataType}`, {
        remedy: "Dequantize the constant first.",
      });
  }
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
