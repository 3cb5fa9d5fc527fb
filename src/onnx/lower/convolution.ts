import { convolutionGeometry } from "../../mil/ops/convolution.ts";
import { perAxis } from "../../mil/ops/windows.ts";
import type { WindowGeometry } from "../../mil/ops/windows.ts";
import { elementCount } from "../../mil/types.ts";
import { computeTypeOf } from "../element-types.ts";
import type { AttributeValue } from "../graph-writer.ts";
import type { Lowering, LoweringSite } from "./site.ts";

/** Window settings as ONNX attributes; pads are all beginnings, then all ends. */
export function windowAttributes(
  geometry: WindowGeometry,
): Readonly<Record<string, AttributeValue>> {
  return {
    kernel_shape: geometry.kernel.map(BigInt),
    strides: geometry.strides.map(BigInt),
    dilations: geometry.dilations.map(BigInt),
    pads: [
      ...geometry.pads.map(([before]) => BigInt(before)),
      ...geometry.pads.map(([, after]) => BigInt(after)),
    ],
  };
}

/** Weights of a quantized convolution as numbers: `w * scale + bias`, a channel's or one for all. */
function quantizedWeight(site: LoweringSite): string {
  const perChannel = (name: string): string =>
    elementCount(site.shape(name)) === 1
      ? site.reshape(site.value(name), [])
      : site.along(site.value(name), 0, site.shape("weight").length);
  const numbers = site.cast(site.value("weight"), computeTypeOf(site.type("x")));
  const scaled = site.node("Mul", [numbers, perChannel("quant_scale")]);
  return site.node("Add", [scaled, perChannel("quant_bias")]);
}

const operandsOf = (site: LoweringSite, weight: string): readonly string[] => [
  site.value("x"),
  weight,
  ...(site.has("bias") ? [site.value("bias")] : []),
];

function convolution(site: LoweringSite, weight: string): string {
  return site.node("Conv", operandsOf(site, weight), {
    ...windowAttributes(convolutionGeometry(site.call)),
    group: BigInt(site.call.int("groups")),
  });
}

export const LOWER_CONVOLUTION = {
  conv: (site) => convolution(site, site.value("weight")),
  conv_quantized: (site) => convolution(site, quantizedWeight(site)),
  conv_transpose: (site) => {
    const spatial = site.shape("x").slice(2);
    const kernel = site.shape("weight").slice(2);
    const strides = perAxis(site.call, "strides", spatial.length, 1);
    const dilations = perAxis(site.call, "dilations", spatial.length, 1);
    const outputs = site.resultShape().slice(2);
    const isSame = site.call.string("pad_type") === "same";
    const pads =
      site.call.string("pad_type") === "custom" && site.call.has("pad")
        ? site.call.ints("pad")
        : [];
    // Everything ONNX calls padding is cut off the full result; what lies beyond it is output_padding.
    const begins: number[] = [];
    const ends: number[] = [];
    const beyond: number[] = [];
    spatial.forEach((size, axis) => {
      const stride = strides[axis] ?? 1;
      const full = (size - 1) * stride + ((kernel[axis] ?? 1) - 1) * (dilations[axis] ?? 1) + 1;
      const begin = isSame
        ? Math.max(0, Math.floor((full - size * stride) / 2))
        : (pads[2 * axis] ?? 0);
      const rest = full - begin - (outputs[axis] ?? 1);
      begins.push(begin);
      ends.push(Math.max(0, rest));
      beyond.push(Math.max(0, -rest));
    });
    return site.node("ConvTranspose", operandsOf(site, site.value("weight")), {
      kernel_shape: kernel.map(BigInt),
      strides: strides.map(BigInt),
      dilations: dilations.map(BigInt),
      pads: [...begins, ...ends].map(BigInt),
      output_padding: beyond.map(BigInt),
      group: BigInt(site.call.int("groups")),
    });
  },
} as const satisfies Record<string, Lowering>;
