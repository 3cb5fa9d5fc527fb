import type { Operand } from "../../mil/program.ts";
import { elementCount } from "../../mil/types.ts";
import type { Import, ImportSite } from "./site.ts";

interface Targets {
  /** int32 [N, D...] of class numbers. */
  readonly target: Operand;
  /** [C]; absent where all classes count the same. */
  readonly weight: Operand | undefined;
}

/** The mean, sum or list of -log probability of the target classes. `logs` is [N, C, D...]. */
function negativeLogLikelihood(
  site: ImportSite,
  logs: Operand,
  { target, weight }: Targets,
): Operand {
  const shape = site.shapeOf(logs);
  const [batch = 1, classes = 1] = shape;
  const inner = elementCount(shape.slice(2));
  const flat = site.reshape(logs, [batch, classes, inner]);
  const places = site.reshape(site.cast(target, "int32"), [batch, inner]);
  const ignored = site.hasAttribute("ignore_index") ? site.int("ignore_index", -1) : undefined;
  const counts =
    ignored === undefined
      ? undefined
      : site.binary("not_equal", places, site.scalar("int32", ignored));
  // An ignored place may name no class at all: it looks at the first one.
  const valid = counts === undefined ? places : site.select(counts, places, 0);
  const found = site.reshape(
    site.op("gather_along_axis", {
      x: flat,
      indices: site.reshape(valid, [batch, 1, inner]),
      axis: 1,
    }),
    [batch, inner],
  );
  const weights =
    weight === undefined ? undefined : site.op("gather", { x: weight, indices: valid, axis: 0 });
  const counted = counts === undefined ? undefined : site.cast(counts, site.typeOf(logs));
  const factor =
    weights === undefined ? counted : counted === undefined ? weights : site.mul(weights, counted);
  const negative = site.mul(found, -1);
  // Not a product: the log of an ignored place may be infinite.
  const weighted = weights === undefined ? negative : site.mul(negative, weights);
  const losses = counts === undefined ? weighted : site.select(counts, weighted, 0);
  const reduction = site.text("reduction", "mean");
  switch (reduction) {
    case "none":
      return site.reshape(losses, [batch, ...shape.slice(2)]);
    case "sum":
      return site.sumOver(losses, [0, 1]);
    case "mean": {
      const sum = site.sumOver(losses, [0, 1]);
      return factor === undefined
        ? site.mul(sum, 1 / (batch * inner))
        : site.binary("real_div", sum, site.sumOver(factor, [0, 1]));
    }
    default:
      throw site.fail(`reduction "${reduction}" is none of mean, sum and none`);
  }
}

const targetsOf = (site: ImportSite): Targets => ({
  target: site.input(1),
  weight: site.optional(2),
});

export const IMPORT_LOSSES = {
  NegativeLogLikelihoodLoss: (site) => negativeLogLikelihood(site, site.input(0), targetsOf(site)),
  SoftmaxCrossEntropyLoss: (site) => {
    const x = site.input(0);
    const sum = site.op("reduce_log_sum_exp", { x, axes: [1], keep_dims: true });
    const logs = site.sub(x, sum);
    return [negativeLogLikelihood(site, logs, targetsOf(site)), logs];
  },
} as const satisfies Record<string, Import>;
