import type { Value } from "../mil/program.ts";
import { headLosses } from "./cross-entropy.ts";
import type { Family } from "./family.ts";
import { StageBuilder } from "./stage-builder.ts";

/**
 * The stages behind the last block: losses, one row's logits and every row's. `logitsOf` gives logits [R, V] of rows
 * [R, C].
 */
export function headStages<Config extends { readonly channelCount: number }>(
  headWeights: Family<Config>["headWeights"],
  logitsOf: (stage: StageBuilder, config: Config, hidden: Value) => Value,
): Pick<Family<Config>, "head" | "logits" | "everyLogits"> {
  return {
    head: (config, { rowCount, dataType, isPerRow }) => {
      const stage = new StageBuilder("head", headWeights(config), dataType);
      const hidden = stage.input("hidden", [rowCount, config.channelCount]);
      const targets = stage.input("targets", [rowCount], "int32");
      stage.declareWeights();
      return stage.finish(headLosses(stage, logitsOf(stage, config, hidden), targets, isPerRow));
    },
    logits: (config, { rowCount, dataType }) => {
      const stage = new StageBuilder("logits", headWeights(config), dataType);
      const hidden = stage.input("hidden", [rowCount, config.channelCount]);
      const row = stage.input("row", [1], "int32");
      stage.declareWeights();
      const chosen = stage.op("gather", { x: hidden, indices: row, axis: 0 });
      return stage.finish({ logits: logitsOf(stage, config, chosen) });
    },
    everyLogits: (config, { rowCount, dataType }) => {
      const stage = new StageBuilder("every_logits", headWeights(config), dataType);
      const hidden = stage.input("hidden", [rowCount, config.channelCount]);
      stage.declareWeights();
      return stage.finish({ logits: logitsOf(stage, config, hidden) });
    },
  };
}
