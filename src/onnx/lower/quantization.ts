import { isFloat } from "../../mil/types.ts";
import { computeTypeOf } from "../element-types.ts";
import type { Lowering, LoweringSite } from "./site.ts";

/** scale or zero point as fp32 numbers that broadcast over the data. */
function perElement(site: LoweringSite, name: string): string {
  const value = isFloat(site.type(name)) ? site.value(name) : site.cast(site.value(name), "fp32");
  if (site.shape(name).length === 0) return value;
  const rank = site.shape("input").length;
  return site.along(value, site.call.axis("axis", rank), rank);
}

const LIMITS = { int8: [-128, 127], uint8: [0, 255] } as const;

export const LOWER_QUANTIZATION = {
  quantize: (site) => {
    const type = site.resultType().dataType;
    const [low, high] = LIMITS[type === "int8" ? "int8" : "uint8"];
    const scaled = site.node("Div", [site.value("input"), perElement(site, "scale")]);
    const rounded = site.node("Round", [scaled]);
    const shifted = site.has("zero_point")
      ? site.node("Add", [rounded, perElement(site, "zero_point")])
      : rounded;
    const kept = site.node("Clip", [shifted, site.scalar(low, "fp32"), site.scalar(high, "fp32")]);
    return site.cast(kept, computeTypeOf(type));
  },
  dequantize: (site) => {
    const numbers = site.cast(site.value("input"), "fp32");
    const shifted = site.has("zero_point")
      ? site.node("Sub", [numbers, perElement(site, "zero_point")])
      : numbers;
    return site.node("Mul", [shifted, perElement(site, "scale")]);
  },
} as const satisfies Record<string, Lowering>;
