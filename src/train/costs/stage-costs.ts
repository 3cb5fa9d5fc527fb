import type { StageCosts } from "../../cluster/index.ts";
import { chooseDriver } from "../../chip/choose-driver.ts";
import { nearestChip } from "../../chip/chips.ts";
import { simulatedChip } from "../../chip/simulated.ts";
import type { EngineDescription } from "../../engine/engine.ts";
import type { Model } from "../../model/model.ts";
import { functionCost } from "../../plan/function-cost.ts";
import type { PricedSettings } from "../config/part-settings.ts";
import { priceParts } from "./part-prices.ts";

/** What a model's stages cost, and by what that is known. */
export interface KnownCosts {
  readonly costs: StageCosts;
  /** "floating-point operations", "the cost model of M4". */
  readonly basis: string;
}

/** Floating-point operations of a forward pass of one micro-batch; a backward pass has about twice those of each. */
export function stageOperations(
  model: Model,
  sizes: { readonly batchSize: number; readonly sequenceLength: number },
): StageCosts {
  const batch = { ...sizes, isPacked: false, dataType: "fp32" as const };
  const byVariant = new Map<string | undefined, number>();
  const blockCost = (variant: string | undefined): number => {
    const known = byVariant.get(variant);
    if (known !== undefined) return known;
    const cost = functionCost(model.functions.block({ ...batch, variant })).flops;
    byVariant.set(variant, cost);
    return cost;
  };
  const rowCount = sizes.batchSize * sizes.sequenceLength;
  return {
    embed: functionCost(model.functions.embed(batch)).flops,
    blocks: model.parameters.blocks.map(({ variant }) => blockCost(variant)),
    head: functionCost(model.functions.head({ rowCount, dataType: "fp32" })).flops,
  };
}

/**
 * What a micro-batch costs at each stage: by the cost model where the engine has a chip, milliseconds forward and
 * backward; else by floating-point operations. Blocks of other kinds than the first are to it as their operations are.
 */
export function stageCosts(
  config: PricedSettings,
  model: Model,
  engine: Pick<EngineDescription, "name" | "device">,
): KnownCosts {
  const { batch_size: batchSize, max_seq_length: sequenceLength } = config;
  const operations = stageOperations(model, { batchSize, sequenceLength });
  const chip = engine.name === "ane" ? nearestChip(engine.device) : simulatedChip(engine.name);
  if (chip === undefined) return { costs: operations, basis: "floating-point operations" };
  const { times } = priceParts(config, { chip, driver: chooseDriver(config.ane_driver) });
  const blockMs = times.blockForward + times.blockBackward;
  const [first = 1] = operations.blocks;
  return {
    costs: {
      embed: times.embedForward + times.embedBackward,
      blocks: operations.blocks.map((count) => (blockMs * count) / first),
      head: times.head,
    },
    basis: `the cost model of ${chip.name}`,
  };
}
