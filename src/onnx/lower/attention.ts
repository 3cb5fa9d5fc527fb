import { lowerProduct } from "./linear.ts";
import type { Lowering } from "./site.ts";

export const LOWER_ATTENTION = {
  scaled_dot_product_attention: (site) => {
    const query = site.shape("query");
    const key = site.shape("key");
    const type = site.type("query");
    let scores = lowerProduct(site, {
      x: site.value("query"),
      y: site.value("key"),
      xShape: query,
      yShape: key,
      transposeX: false,
      transposeY: true,
      alpha: 1 / Math.sqrt(query.at(-1) ?? 1),
    });
    if (site.has("attn_mask")) {
      const mask = site.value("attn_mask");
      scores =
        site.type("attn_mask") === "bool"
          ? site.node("Where", [mask, scores, site.scalar(-Infinity, type)])
          : site.node("Add", [scores, mask]);
    }
    const weights = site.node("Softmax", [scores], { axis: -1n });
    return site.node("MatMul", [weights, site.value("value")]);
  },
} as const satisfies Record<string, Lowering>;
