import type { OpCall } from "../../mil/op-call.ts";
import { perElement, quantizedRange } from "../../mil/ops/quantization.ts";
import { roundHalfToEven } from "../../mil/host-tensor.ts";
import { roundHalfAway } from "./arithmetic.ts";
import type { SimKernel } from "./context.ts";
import { HalfTensor } from "./half-tensor.ts";
import { roundToHalf } from "./rounding.ts";

const quantize: SimKernel = (call, { machine, arithmetic }) => {
  const input = call.tensor("input");
  const [dataType, low, high] = quantizedRange(call);
  const scale = perElement(call, "input", "scale", 1);
  const zeroPoint = perElement(call, "input", "zero_point", 0);
  const round = arithmetic["quantize.rounding"] === "half-away" ? roundHalfAway : roundHalfToEven;
  const result = HalfTensor.allocate(machine.arena, dataType, input.shape);
  const numbers = result.numbers();
  input.data.forEach((value, index) => {
    const whole = round(value / scale(index)) + zeroPoint(index);
    numbers[index] = Math.min(Math.max(whole, low), high);
  });
  return [result];
};

/** Numbers as fp16, with the integers they stand for where those are int8 around 0. */
function dequantizing(data: string): SimKernel {
  return (call, { machine, arithmetic }) => {
    const input = call.tensor(data);
    const scale = perElement(call, data, "scale", 1);
    const zeroPoint = perElement(call, data, "zero_point", 0);
    const numbers = input.data.map((value, index) => scale(index) * (value - zeroPoint(index)));
    roundToHalf(numbers, arithmetic["elementwise.rounding"]);
    const result = HalfTensor.allocate(machine.arena, call.dataType("scale"), input.shape);
    result.numbers().set(numbers);
    const scales = symmetricScales(call, input.dataType);
    if (scales !== undefined) {
      const integers = HalfTensor.allocate(machine.arena, "int8", input.shape);
      integers.numbers().set(input.data);
      result.quantized = { integers, scales };
    }
    return [result];
  };
}

/** Scales of all elements or of each of axis 0, where zero points are 0; else nothing. */
function symmetricScales(call: OpCall, dataType: string): Float64Array | undefined {
  if (dataType !== "int8") return undefined;
  const isCentred =
    !call.has("zero_point") || call.tensor("zero_point").data.every((value) => value === 0);
  const { data, shape } = call.tensor("scale");
  const isByOutput = shape.length === 0 || data.length === 1 || call.int("axis") === 0;
  return isCentred && isByOutput ? data : undefined;
}

export const quantization: Readonly<Record<string, SimKernel>> = {
  quantize,
  dequantize: dequantizing("input"),
  constexpr_affine_dequantize: dequantizing("quantized_data"),
};
