import { computeTypeOf } from "../element-types.ts";
import { MICROSOFT_DOMAIN } from "../graph-writer.ts";
import { sameAs } from "./site.ts";
import type { Lowering, LoweringSite } from "./site.ts";

const isFloat32 = (site: LoweringSite): boolean => computeTypeOf(site.type("x")) === "fp32";

/** x where x >= 0, something else elsewhere. */
const whenNegative = (site: LoweringSite, otherwise: string): string => {
  const x = site.value("x");
  return site.node("Where", [site.node("GreaterOrEqual", [x, site.scalar(0)]), x, otherwise]);
};

/** alpha * x + beta */
const affine = (site: LoweringSite): string =>
  site.node("Add", [
    site.node("Mul", [site.value("x"), site.scalarOf("alpha")]),
    site.scalarOf("beta"),
  ]);

const sigmoidTimes = (site: LoweringSite, alpha: number): string => {
  const x = site.value("x");
  if (isFloat32(site)) return site.node("QuickGelu", [x], { alpha }, MICROSOFT_DOMAIN);
  const scaled = alpha === 1 ? x : site.node("Mul", [x, site.scalar(alpha)]);
  return site.node("Mul", [x, site.node("Sigmoid", [scaled])]);
};

export const LOWER_ACTIVATION = {
  relu: sameAs("Relu", "x"),
  relu6: (site) => site.node("Clip", [site.value("x"), site.scalar(0), site.scalar(6)]),
  sigmoid: sameAs("Sigmoid", "x"),
  silu: (site) => sigmoidTimes(site, 1),
  softplus: sameAs("Softplus", "x"),
  softsign: sameAs("Softsign", "x"),
  gelu: (site) => {
    const x = site.value("x");
    switch (site.call.string("mode")) {
      case "TANH_APPROXIMATION":
        return isFloat32(site)
          ? site.node("FastGelu", [x], {}, MICROSOFT_DOMAIN)
          : site.node("Gelu", [x], { approximate: "tanh" });
      case "SIGMOID_APPROXIMATION":
        return sigmoidTimes(site, 1.702);
      default:
        return site.node("Gelu", [x], { approximate: "none" });
    }
  },
  clamped_relu: (site) =>
    site.node("Min", [
      whenNegative(site, site.node("Mul", [site.value("x"), site.scalarOf("alpha")])),
      site.scalarOf("beta"),
    ]),
  elu: (site) => site.node("Elu", [site.value("x")], { alpha: site.call.float("alpha") }),
  leaky_relu: (site) =>
    site.node("LeakyRelu", [site.value("x")], { alpha: site.call.float("alpha") }),
  linear_activation: affine,
  scaled_tanh: (site) =>
    site.node("Mul", [
      site.node("Tanh", [site.node("Mul", [site.value("x"), site.scalarOf("beta")])]),
      site.scalarOf("alpha"),
    ]),
  sigmoid_hard: (site) => site.node("Clip", [affine(site), site.scalar(0), site.scalar(1)]),
  thresholded_relu: (site) => {
    const x = site.value("x");
    const kept = site.node("GreaterOrEqual", [x, site.scalarOf("alpha")]);
    return site.node("Where", [kept, x, site.scalar(0)]);
  },
  prelu: (site) =>
    whenNegative(site, site.node("Mul", [site.value("x"), site.perChannel("alpha")])),
  softplus_parametric: (site) =>
    site.node("Mul", [
      site.node("Softplus", [site.node("Mul", [site.value("x"), site.perChannel("beta")])]),
      site.perChannel("alpha"),
    ]),
  softmax: (site) => site.node("Softmax", [site.value("x")], { axis: site.axis() }),
} as const satisfies Record<string, Lowering>;
