import { writeSync } from "node:fs";
import type { Launched } from "../../cluster/index.ts";
import { createEngine, engineOptions } from "../../engine/create.ts";
import type { Engine } from "../../engine/engine.ts";
import { trainableWeights } from "../../model/index.ts";
import { messageOf } from "../../util/errors.ts";
import type { TrainConfig } from "../config/config.ts";
import { compareWeights } from "../step/weight-check.ts";
import { groupFacts } from "./group-facts.ts";
import { ReceivedBatches } from "./group-batches.ts";
import { spreadNames } from "./group-weights.ts";
import { makeTrainer } from "./make-trainer.ts";
import { planOf } from "./plan-of.ts";
import { RunGroup, threadsBeside } from "./run-group.ts";
import type { Order } from "./run-group.ts";
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
  const { shares, start } = order;
  const threads =
    given.threads ?? (given.engine === "reference" ? undefined : threadsBeside(launched));
  const config = group.ownConfig({ ...order.config, threads }, shares);
  const engine = await createEngine(config.engine, engineOptions(config));
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
  const { config } = order;
  const model = trainedModel(config, order.model, order.modelFolder);
  const { plan } = planOf(config, model);
  requireMemory(plan);
  const loaded = await engine.load(plan);
  try {
    await group.spread(loaded, spreadNames(plan, model, firstStep > 0));
    await group.world.barrier().wait();
    const batches = new ReceivedBatches(group.dealing(order), group.place.replica);
    const trainer = makeTrainer(config, {
      ...{ loaded, batches, engine: engine.description, start: order.start },
      group: group.trainingGroup(config),
    });
    const weights = trainableWeights(model.parameters).map(({ name }) => name);
    for (;;) {
      const command = await group.takeCommand();
      switch (command.kind) {
        case "update":
          group.cluster.noteStep(trainer.step);
          await batches.receive();
          await trainer.update(() => undefined);
          break;
        case "check":
          await compareWeights(loaded, weights, group.replicas, trainer.step);
          break;
        case "serve":
          break;
        case "end":
          return;
      }
    }
  } finally {
    await loaded.close();
  }
}
