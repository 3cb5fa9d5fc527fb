import type { MilFunction } from "../mil/program.ts";
import { shareCommonSubexpressions } from "./common-subexpressions.ts";
import { removeDeadCode } from "./dead-code.ts";
import { dropBroadcasts } from "./drop-broadcasts.ts";
import { foldConstants } from "./fold-constants.ts";
import { fuseActivations } from "./fuse-activations.ts";
import { fuseNormalizations } from "./fuse-normalizations.ts";
import { mergeCasts } from "./merge-casts.ts";
import { mergeReshapes } from "./merge-reshapes.ts";
import { mergeTransposes } from "./merge-transposes.ts";
import { removeIdentities } from "./remove-identities.ts";
import type { Pass } from "./rewrite.ts";
import { rowScalesOutOfProducts } from "./row-scales-out-of-products.ts";
import { scatterIntoSums } from "./scatter-into-sums.ts";
import { simplifyArithmetic } from "./simplify-arithmetic.ts";
import { simplifyReductions } from "./simplify-reductions.ts";
import { simplifySlices } from "./simplify-slices.ts";
import { transposesIntoProducts } from "./transposes-into-products.ts";

export interface NamedPass {
  readonly name: string;
  readonly run: Pass;
}

/** The rewrites in the order in which they run. */
export const PIPELINE: readonly NamedPass[] = [
  { name: "remove dead code", run: removeDeadCode },
  { name: "remove identities", run: removeIdentities },
  { name: "fold constants", run: foldConstants },
  { name: "share common subexpressions", run: shareCommonSubexpressions },
  { name: "simplify slices", run: simplifySlices },
  { name: "simplify reductions", run: simplifyReductions },
  { name: "merge casts", run: mergeCasts },
  { name: "merge reshapes", run: mergeReshapes },
  { name: "merge transposes", run: mergeTransposes },
  { name: "transposes into products", run: transposesIntoProducts },
  { name: "drop broadcasts", run: dropBroadcasts },
  { name: "simplify arithmetic", run: simplifyArithmetic },
  { name: "scatter into sums", run: scatterIntoSums },
  { name: "fuse activations", run: fuseActivations },
  { name: "fuse normalizations", run: fuseNormalizations },
];

/** The same, and what is good for processors alone: it needs a wide range of exponents. */
export const PROCESSOR_PIPELINE: readonly NamedPass[] = [
  ...PIPELINE,
  { name: "row scales out of products", run: rowScalesOutOfProducts },
];

/** One rewrite opens the way for another; after this many turns what is left is not worth the search. */
const TURN_LIMIT = 8;

export interface OptimizeOptions {
  readonly passes?: readonly NamedPass[];
  /** Called after every pass that changed something: tests verify the function here. */
  readonly afterPass?: (name: string, fn: MilFunction) => void;
}

/**
 * Simplifies a function: the same inputs, the same outputs up to rounding, fewer and cheaper ops.
 * Throws `PassError` where a rewrite goes wrong, which is a defect of the rewrite.
 */
export function optimize(fn: MilFunction, options: OptimizeOptions = {}): MilFunction {
  const { passes = PIPELINE, afterPass } = options;
  let current = fn;
  for (let turn = 0; turn < TURN_LIMIT; turn++) {
    const before = current;
    for (const { name, run } of passes) {
      const next = run(current);
      if (next !== current) afterPass?.(name, next);
      current = next;
    }
    if (current === before) break;
  }
  return current;
}
