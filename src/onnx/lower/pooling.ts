import { windowGeometry } from "../../mil/ops/windows.ts";
import { elementCount } from "../../mil/types.ts";
import { windowAttributes } from "./convolution.ts";
import type { Lowering, LoweringSite } from "./site.ts";

function attributes(site: LoweringSite) {
  const geometry = windowGeometry(
    site.call,
    site.shape("x").slice(2),
    site.call.ints("kernel_sizes"),
  );
  const { dilations: _, ...rest } = windowAttributes(geometry);
  return { ...rest, ceil_mode: site.call.bool("ceil_mode") ? 1n : 0n };
}

export const LOWER_POOLING = {
  avg_pool: (site) =>
    site.node("AveragePool", [site.value("x")], {
      ...attributes(site),
      count_include_pad: site.call.bool("exclude_padding_from_average") ? 0n : 1n,
    }),
  /** The mean of squares with padding counted, times the window: the sum, whatever lies outside. */
  l2_pool: (site) => {
    const x = site.value("x");
    if (site.call.bool("ceil_mode")) throw site.fail("ceil_mode of l2_pool has no ONNX form");
    const means = site.node("AveragePool", [site.node("Mul", [x, x])], {
      ...attributes(site),
      count_include_pad: 1n,
    });
    const count = site.scalar(elementCount(site.call.ints("kernel_sizes")));
    return site.node("Sqrt", [site.node("Mul", [means, count])]);
  },
  max_pool: (site) => site.node("MaxPool", [site.value("x")], attributes(site)),
} as const satisfies Record<string, Lowering>;
