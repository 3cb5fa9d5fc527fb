import { writeSync } from "node:fs";
import type { Launched } from "../../cluster/index.ts";
import { createEngine, engineOptions, hasThreads } from "../../engine/create.ts";
import type { Engine, LoadedPlan } from "../../engine/engine.ts";
import { messageOf } from "../../util/errors.ts";
import type { TrainConfig } from "../config/config.ts";
import { Pipeline } from "../step/pipeline.ts";
import { heldWeights } from "../step/step-part.ts";
import { judge } from "../step/trainer.ts";
import { compareWeights } from "../step/weight-check.ts";
import { shareOf } from "./batch-shares.ts";
import { groupFacts } from "./group-facts.ts";
import { ReceivedBatches, receiveJudged } from "./group-batches.ts";
import type { Dealing } from "./group-batches.ts";
import { GroupState } from "./group-weights.ts";
import { makeTrainer } from "./make-trainer.ts";
import { expectedRuns, planOf } from "./plan-of.ts";
import { joinSettings, LOSS_TAG, RunGroup, threadsBeside } from "./run-group.ts";
import type { Order } from "./run-group.ts";
import { SpeedMeter } from "./speed-meter.ts";
import { requireMemory } from "./start.ts";
import { trainedModel } from "./trained-model.ts";

/**
 * Every process of a run but rank 0, in the calling thread: trains its share of what rank 0 prepares, and does as it is
 * told until rank 0 ends the run. An error of this process's own is told here and ends all.
 */
export async function followTraining(given: TrainConfig, launched: Launched): Promise<void> {
  const group = await RunGroup.open(given);
  try {
    await group.agree(groupFacts(given));
  } catch {
    // Rank 0 has heard the same and tells of it.
    await group.cluster.close();
    return;
  }
  try {
    const order = await group.takeOrder();
    if (order !== undefined) await train(group, order, given, launched);
    await group.cluster.close();
  } catch (error) {
    writeSync(2, `anecdote: rank ${group.rank}: ${messageOf(error)}\n`);
    await group.cluster.abort();
  }
}

async function train(
  group: RunGroup,
  order: Order,
  given: TrainConfig,
  launched: Launched,
): Promise<void> {
  const { start } = order;
  const threads = given.threads ?? (hasThreads(given.engine) ? threadsBeside(launched) : undefined);
  const config = { ...order.config, threads, blas: given.blas };
  const engine = await createEngine(config.engine, {
    ...engineOptions(config),
    ...joinSettings(config, true),
  });
  try {
    await trainOn(engine, group, { ...order, config }, start.step);
  } finally {
    await engine.close();
  }
}

async function trainOn(
  engine: Engine,
  group: RunGroup,
  order: Order,
  firstStep: number,
): Promise<void> {
  const { division } = order;
  const config = group.ownConfig(order.config, division.shares);
  const planned = group.plannedConfig(order.config, config);
  const model = trainedModel(config, order.model, order.modelFolder);
  const held = group.hold(planned, model, division);
  const { plan } = planOf({ ...planned, engine: engine.description.name }, model, held);
  requireMemory(plan);
  const trainingGroup = await group.trainingGroup(config, model);
  const runs = expectedRuns(config, config.max_steps - firstStep);
  const loaded = await engine.load(plan, { expectedRuns: runs });
  try {
    const state = new GroupState(group, model, held, loaded);
    await state.distribute({ isResumed: firstStep > 0 });
    let { shares } = division;
    const dealing = group.dealing(order, shares);
    const meter = new SpeedMeter(group.cluster);
    const batches = new ReceivedBatches(dealing, group.place.replica);
    const pipeline = held.part && new Pipeline(loaded, group.shards, held.part);
    const trainer = makeTrainer(config, {
      ...{ loaded, batches, engine: engine.description, start: order.start },
      group: trainingGroup,
      share: shareOf(shares, order.config, group.place.replica),
      ...(pipeline !== undefined && { pipeline }),
    });
    const weights = heldWeights(model.parameters, held.part).flatMap(({ name, trainable }) =>
      trainable ? [name] : [],
    );
    for (;;) {
      const command = await group.takeCommand();
      switch (command.kind) {
        case "update":
          group.cluster.noteStep(trainer.step);
          meter.begin();
          await batches.receive();
          await trainer.update(() => undefined);
          meter.end(trainer.batchCount);
          break;
        case "divide": {
          ({ shares } = await group.measure(meter, shares));
          const own = shareOf(shares, order.config, group.place.replica);
          batches.share(own.count);
          trainer.take(own);
          break;
        }
        case "check":
          await compareWeights(loaded, weights, group.replicas, trainer.step);
          break;
        case "evaluate":
          await judgeAll(loaded, pipeline, group, dealing);
          break;
        case "serve":
          await state.serve();
          break;
        case "end":
          return;
      }
    }
  } finally {
    await loaded.close();
  }
}

/** Judges the batches that rank 0 sends; the last process of a pipeline tells it their losses. */
async function judgeAll(
  loaded: LoadedPlan,
  pipeline: Pipeline | undefined,
  { world }: RunGroup,
  dealing: Dealing,
): Promise<void> {
  const sums: number[] = [];
  for (;;) {
    const batch = await receiveJudged(dealing);
    if (batch === undefined) break;
    sums.push(await judge(loaded, pipeline, batch));
  }
  if (pipeline?.isLast !== false) await world.send([Float64Array.from(sums)], 0, LOSS_TAG).wait();
}
