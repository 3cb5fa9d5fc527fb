import { convolutionGeometry } from "../../mil/ops/convolution.ts";
import type { WindowGeometry } from "../../mil/ops/windows.ts";
import type { AttributeValue } from "../graph-writer.ts";
import type { Lowering } from "./site.ts";

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

export const LOWER_CONVOLUTION = {
  conv: (site) => {
    const inputs = [site.value("x"), site.value("weight")];
    if (site.has("bias")) inputs.push(site.value("bias"));
    return site.node("Conv", inputs, {
      ...windowAttributes(convolutionGeometry(site.call)),
      group: BigInt(site.call.int("groups")),
    });
  },
} as const satisfies Record<string, Lowering>;
