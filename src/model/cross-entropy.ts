import type { Value } from "../mil/program.ts";
import type { StageBuilder } from "./stage-builder.ts";

/** Targets below 0 are ignored; Hugging Face writes -100. */
export const IGNORED_TARGET = -100;

/**
 * What a head gives: loss_sum [], the sum over all rows, or losses [N], each row's own. logits [N, V], targets int32 [N].
 */
export function headLosses(
  stage: StageBuilder,
  logits: Value,
  targets: Value,
  isPerRow = false,
): Record<string, Value> {
  const losses = crossEntropyRows(stage, logits, targets);
  if (isPerRow) return { losses };
  return { loss_sum: stage.op("reduce_sum", { x: losses, axes: [0], keep_dims: false }) };
}

/** -log softmax(logits)[target] of each row, in nats, as fp32 [N]; 0 where a row has no target. */
function crossEntropyRows(stage: StageBuilder, logits: Value, targets: Value): Value {
  const [rowCount] = logits.type.kind === "tensor" ? logits.type.shape : [];
  const valid = stage.op("greater_equal", { x: targets, y: 0 });
  const column = stage.op("reshape", {
    x: stage.op("maximum", { x: targets, y: 0 }),
    shape: [Number(rowCount), 1],
  });
  const normalizer = stage.op("reduce_log_sum_exp", { x: logits, axes: [1], keep_dims: true });
  const chosen = stage.op("gather_along_axis", { x: logits, indices: column, axis: 1 });
  const difference = stage.op("sub", { x: normalizer, y: chosen });
  const rows = stage.op("reshape", {
    x: stage.dataType === "fp32" ? difference : stage.op("cast", { x: difference, dtype: "fp32" }),
    shape: [Number(rowCount)],
  });
  return stage.op("mul", { x: rows, y: stage.op("cast", { x: valid, dtype: "fp32" }) });
}
