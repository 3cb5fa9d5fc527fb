import type { OpName } from "../../../src/mil/ops/index.ts";
import type { CaseBuilder } from "../../helpers/finite-differences.ts";
import type { DrawCase } from "./case.ts";

/** Windows of one or two spatial axes in every kind of padding. */
function windows(c: CaseBuilder, rank: number, padTypes: readonly string[]) {
  const pad_type = c.pick(padTypes);
  const perAxis = (low: number, high: number, count = rank): number[] =>
    Array.from({ length: count }, () => c.between(low, high));
  return {
    strides: c.chance(0.7) ? perAxis(1, 2) : undefined,
    pad_type,
    pad: pad_type === "custom" ? perAxis(0, 1, 2 * rank) : undefined,
  };
}

const dilations = (c: CaseBuilder, rank: number): number[] | undefined =>
  c.chance(0.4) ? Array.from({ length: rank }, () => c.between(1, 2)) : undefined;

function sizes(c: CaseBuilder, rank: number, low: number, high: number): number[] {
  return Array.from({ length: rank }, () => c.between(low, high));
}

const conv: DrawCase = (c) => {
  const rank = c.between(1, 2);
  const pointwise = c.chance(0.2);
  const groups = pointwise ? 1 : c.between(1, 2);
  const [perGroup, outputs] = [c.between(1, 2), groups * c.between(1, 2)];
  const kernel = pointwise ? sizes(c, rank, 1, 1) : sizes(c, rank, 1, 3);
  const x = c.float("x", [c.between(1, 2), groups * perGroup, ...sizes(c, rank, 5, 6)]);
  const weight = c.float("weight", [outputs, perGroup, ...kernel]);
  const bias = c.chance() ? c.float("bias", [outputs]) : undefined;
  if (pointwise && c.chance(0.7)) return [c.f.op("conv", { x, weight, bias })];
  return [
    c.f.op("conv", {
      x,
      weight,
      bias,
      groups,
      dilations: dilations(c, rank),
      ...windows(c, rank, ["valid", "same", "same_lower", "custom"]),
    }),
  ];
};

const convTranspose: DrawCase = (c) => {
  const rank = c.between(1, 2);
  const groups = c.between(1, 2);
  const [inputs, perGroup] = [groups * c.between(1, 2), c.between(1, 2)];
  const batch = c.between(1, 2);
  const spatial = sizes(c, rank, 2, 4);
  const kernel = sizes(c, rank, 2, 3);
  const x = c.float("x", [batch, inputs, ...spatial]);
  const weight = c.float("weight", [inputs, perGroup, ...kernel]);
  const bias = c.chance() ? c.float("bias", [groups * perGroup]) : undefined;
  const settings = {
    groups,
    dilations: dilations(c, rank),
    ...windows(c, rank, ["valid", "same", "custom"]),
  };
  const free = c.f.op("conv_transpose", { x, weight, bias, ...settings });
  if (c.chance(0.7) || settings.pad_type === "same") return [free];
  // A result a little longer than the windows reach, as a strided convolution's input may be.
  const { type } = free;
  const shape = type.kind === "tensor" ? type.shape.map(Number) : [];
  const longer = shape.map((size, axis) =>
    axis < 2 ? size : size + c.below(settings.strides?.[axis - 2] ?? 1),
  );
  return [c.f.op("conv_transpose", { x, weight, bias, output_shape: longer, ...settings })];
};

const convQuantized: DrawCase = (c) => {
  const [outputs, inputs] = [c.between(1, 2), c.between(1, 2)];
  const x = c.float("x", [1, inputs, ...sizes(c, 1, 4, 6)]);
  const shape = [outputs, inputs, c.between(1, 3)];
  const numbers = Array.from({ length: outputs * inputs * 3 }, () => c.below(256));
  const weight = c.given("weight", "uint8", shape, numbers);
  const perOutput = c.chance() ? [outputs] : [1];
  const scales = perOutput.flatMap((count) => Array.from({ length: count }, () => 0.01));
  return [
    c.f.op("conv_quantized", {
      x,
      weight,
      bias: c.chance() ? c.float("bias", [outputs]) : undefined,
      quantization_type: "linear",
      quant_scale: c.given("scale", "fp32", perOutput, scales),
      quant_bias: c.given("offset", "fp32", perOutput, [-1, 0.5]),
      ...windows(c, 1, ["valid", "same", "custom"]),
    }),
  ];
};

export const CONVOLUTION_CASES: Partial<Record<OpName, DrawCase>> = {
  conv,
  conv_transpose: convTranspose,
  conv_quantized: convQuantized,
};
