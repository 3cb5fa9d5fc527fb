import { roundHalfToEven } from "../host-tensor.ts";
import type { OpCall } from "../op-call.ts";
import {
  constantTensor,
  optional,
  optionalConstantTensor,
  required,
  tensor,
} from "../op-parameters.ts";
import { defineOp } from "../op-row.ts";
import { elementCount, tensorType } from "../types.ts";
import type { DataType, TensorType } from "../types.ts";
import { agree, formatShape } from "./dimensions.ts";
import { mapTensor } from "./elementwise-unary.ts";
import { spanOf } from "./strided.ts";

const RANGES = { int8: [-128, 127], uint8: [0, 255] } as const;

/** scale and zero point are one number each, or one for every element of `axis`. */
function checkScale(call: OpCall, data: string, scale: string, zeroPoint: string): void {
  const shape = call.shape(data);
  for (const name of [scale, zeroPoint]) {
    if (!call.has(name)) continue;
    const [size, ...rest] = call.shape(name);
    if (size === undefined) continue;
    if (!call.has("axis")) throw call.fail(`axis must be given, ${name} is a vector`);
    const axis = call.axis("axis", shape.length);
    if (rest.length > 0 || !agree(size, shape[axis] ?? 1)) {
      throw call.fail(
        `${name} ${formatShape(call.shape(name))} must hold ${shape[axis]} numbers, one for each element of axis ${axis}`,
      );
    }
  }
}

/** The number of `name` that belongs to a flat index of `data`. */
export function perElement(
  call: OpCall,
  data: string,
  name: string,
  fallback: number,
): (index: number) => number {
  if (!call.has(name)) return () => fallback;
  const { data: values, shape } = call.tensor(name);
  if (shape.length === 0) return () => values[0] ?? fallback;
  const dataShape = call.tensor(data).shape;
  const { size, inner } = spanOf(dataShape, call.axis("axis", dataShape.length));
  return (index) => values[Math.floor(index / inner) % size] ?? fallback;
}

/** The type a call makes and its range. */
export function quantizedRange(
  call: OpCall,
): readonly [dataType: "int8" | "uint8", low: number, high: number] {
  const { dataType } = quantizedType(call);
  return dataType === "int8" ? ["int8", ...RANGES.int8] : ["uint8", ...RANGES.uint8];
}

function quantizedType(call: OpCall): TensorType {
  checkScale(call, "input", "scale", "zero_point");
  const dataType = call.choice("output_dtype", ["int8", "uint8"]);
  if (call.has("zero_point") && call.dataType("zero_point") !== dataType) {
    throw call.fail(
      `zero_point is ${call.dataType("zero_point")}, output_dtype is ${dataType}; they must be equal`,
    );
  }
  return tensorType(dataType, call.shape("input"));
}

/** scale * (data - zero point) */
function dequantized(call: OpCall, data: string, dataType: DataType) {
  const input = call.tensor(data);
  const scale = perElement(call, data, "scale", 1);
  const zeroPoint = perElement(call, data, "zero_point", 0);
  const dequantize = (value: number, index: number): number =>
    scale(index) * (value - zeroPoint(index));
  return mapTensor(input, dequantize, dataType);
}

export const QUANTIZATION = {
  /** clip(round(input / scale) + zero_point), ties to even. */
  quantize: defineOp({
    kind: "elementwise",
    parameters: {
      input: tensor(),
      zero_point: optionalConstantTensor(),
      scale: constantTensor(),
      axis: optional("int"),
      output_dtype: required("string"),
    },
    infer: (call) => [quantizedType(call)],
    evaluate: (call) => {
      const [dataType, low, high] = quantizedRange(call);
      const input = call.tensor("input");
      const scale = perElement(call, "input", "scale", 1);
      const zeroPoint = perElement(call, "input", "zero_point", 0);
      const quantize = (value: number, index: number): number =>
        Math.min(Math.max(roundHalfToEven(value / scale(index)) + zeroPoint(index), low), high);
      return [mapTensor(input, quantize, dataType)];
    },
    flops: (call) => 3 * elementCount(call.staticShape("input")),
  }),

  dequantize: defineOp({
    kind: "elementwise",
    parameters: {
      input: tensor(),
      zero_point: optionalConstantTensor(),
      scale: constantTensor(),
      axis: optional("int"),
    },
    infer: (call) => {
      checkScale(call, "input", "scale", "zero_point");
      return [tensorType(call.dataType("scale"), call.shape("input"))];
    },
    evaluate: (call) => [dequantized(call, "input", call.dataType("scale"))],
    flops: (call) => 2 * elementCount(call.staticShape("input")),
  }),

  constexpr_affine_dequantize: defineOp({
    kind: "elementwise",
    parameters: {
      quantized_data: constantTensor(),
      zero_point: constantTensor(),
      scale: constantTensor(),
      axis: required("int"),
    },
    infer: (call) => {
      checkScale(call, "quantized_data", "scale", "zero_point");
      return [tensorType(call.dataType("scale"), call.shape("quantized_data"))];
    },
    evaluate: (call) => [dequantized(call, "quantized_data", call.dataType("scale"))],
  }),
} as const;
