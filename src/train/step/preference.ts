import { FunctionBuilder } from "../../mil/builder.ts";
import { tensorLiteral } from "../../mil/literal.ts";
import type { MilFunction, Value } from "../../mil/program.ts";
import { tensorType } from "../../mil/types.ts";
import type { HostKernel } from "../../plan/plan.ts";

/** How pairs of answers are weighed against each other. */
export interface PreferenceSettings {
  /** What log-probabilities against the reference's count. */
  readonly beta: number;
}

/** P pairs: rows 2i and 2i + 1 of B = 2P are the better and the worse answer of S positions each. */
export interface PairSizes {
  readonly pairCount: number;
  readonly sequenceLength: number;
}

/** Sums over whole answers stay on the host, in fp32. */
export const PREFERENCE_KERNEL = {
  kind: "preference",
  weights: [],
} as const satisfies HostKernel;

/** token_losses fp32 [B*S] to answer_losses [B]: what the reference takes for each answer, in nats. */
export function answerLosses({ pairCount, sequenceLength }: PairSizes): MilFunction {
  const f = new FunctionBuilder("answer_losses");
  const losses = f.input("token_losses", tensorType("fp32", [2 * pairCount * sequenceLength]));
  return f.finish({ answer_losses: sumsOf(f, losses, { pairCount, sequenceLength }) });
}

function sumsOf(f: FunctionBuilder, losses: Value, sizes: PairSizes): Value {
  const { pairCount, sequenceLength } = sizes;
  const rows = f.op("reshape", { x: losses, shape: [2 * pairCount, sequenceLength] });
  return f.op("reduce_sum", { x: rows, axes: [1], keep_dims: false });
}

/**
 * Direct preference optimization (Rafailov and others, 2023, equation 7). An answer's reward is beta times its
 * log-probability against the reference's; the loss of a pair is -log sigmoid(reward of the better - of the worse).
 * Inputs: token_losses [B*S], reference_losses [B], pair_weights [P] (0 for pairs that are not there), and, for learning,
 * loss_scale []. Outputs: loss_sum [], chosen_rewards and rejected_rewards [P]; for learning d_token_losses [B*S], the
 * gradient of the scaled loss by each token's own loss.
 */
export function preferenceLoss(
  { beta }: PreferenceSettings,
  sizes: PairSizes,
  isLearning: boolean,
): MilFunction {
  const { pairCount, sequenceLength } = sizes;
  const f = new FunctionBuilder(isLearning ? "preference_gradient" : "preference_loss");
  const losses = f.input("token_losses", tensorType("fp32", [2 * pairCount * sequenceLength]));
  const reference = f.input("reference_losses", tensorType("fp32", [2 * pairCount]));
  const weights = f.input("pair_weights", tensorType("fp32", [pairCount]));
  const scale = isLearning ? f.input("loss_scale", tensorType("fp32", [])) : undefined;
  const gained = f.op("sub", { x: reference, y: sumsOf(f, losses, sizes) });
  const rewards = f.op("reshape", {
    x: f.op("mul", { x: gained, y: beta }),
    shape: [pairCount, 2],
  });
  const weighed = (chosen: number, rejected: number): Value =>
    f.op("reduce_sum", {
      x: f.op("mul", { x: rewards, y: tensorLiteral("fp32", [1, 2], [chosen, rejected]) }),
      axes: [1],
      keep_dims: false,
    });
  const against = weighed(-1, 1);
  // log(1 + e^x) without overflow: max(x, 0) + log(1 + e^-|x|).
  const decay = f.op("exp", {
    x: f.op("sub", { x: 0, y: f.op("abs", { x: against }) }),
  });
  const pairLosses = f.op("add", {
    x: f.op("maximum", { x: against, y: 0 }),
    y: f.op("log", { x: f.op("add", { x: decay, y: 1 }), epsilon: 0 }),
  });
  const lossSum = f.op("reduce_sum", {
    x: f.op("mul", { x: pairLosses, y: weights }),
    axes: [0],
    keep_dims: false,
  });
  const outputs: Record<string, Value> = {
    loss_sum: lossSum,
    chosen_rewards: weighed(1, 0),
    rejected_rewards: weighed(0, 1),
  };
  if (scale !== undefined) {
    const slopes = f.op("mul", {
      x: f.op("mul", { x: f.op("sigmoid", { x: against }), y: weights }),
      y: f.op("mul", { x: scale, y: beta }),
    });
    // A token's loss is minus its log-probability, so the better answer's losses fall with the gradient's sign.
    const signs = f.op("mul", {
      x: f.op("reshape", { x: slopes, shape: [pairCount, 1] }),
      y: tensorLiteral("fp32", [1, 2], [1, -1]),
    });
    const spread = f.op("mul", {
      x: f.op("reshape", { x: signs, shape: [2 * pairCount, 1] }),
      y: tensorLiteral("fp32", [1, sequenceLength], new Float32Array(sequenceLength).fill(1)),
    });
    outputs["d_token_losses"] = f.op("reshape", {
      x: spread,
      shape: [2 * pairCount * sequenceLength],
    });
  }
  return f.finish(outputs);
}
