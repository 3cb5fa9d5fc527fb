import { createEngine, engineOptions, hasThreads } from "../../engine/create.ts";
import { launchedProcess } from "../../cluster/index.ts";
import { checkWeightFiles } from "../../model/index.ts";
import type { TrainEvent } from "../../runs/events.ts";
import { newestWholeCheckpoint } from "../../runs/whole-checkpoints.ts";
import type { FoundCheckpoint } from "../../runs/whole-checkpoints.ts";
import { trackerNames } from "../../track/trackers.ts";
import type { TrainConfig } from "../config/config.ts";
import { TrainError } from "../errors.ts";
import { GroupLeader } from "./group-leader.ts";
import { placeBase, requirePlacement } from "./place-base.ts";
import { withResizedBase } from "./resized-base.ts";
import { planOf } from "./plan-of.ts";
import { PreparationLog } from "./preparation-log.ts";
import { modelFolderOf, plannedModel, prepareData } from "./prepare.ts";
import type { PreparedData } from "./prepare.ts";
import type { RunContext } from "./run-context.ts";
import { withArithmetic } from "./run-arithmetic.ts";
import { joinSettings, threadsBeside } from "./run-group.ts";
import { withSavedMeaning } from "./saved-meaning.ts";
import { claimFolder, finishedNotice, requireMemory } from "./start.ts";
import { trainedModel } from "./trained-model.ts";
import { TrainingRun } from "./training-run.ts";

export type { RunContext, TrainProgress } from "./run-context.ts";

/**
 * A whole training run in the calling thread: data, plan, engine, loop, evaluation, samples, checkpoints.
 * Returns the last event: `end`, `interrupted`, or a `notice` where a run to resume has nothing left to do; nothing is
 * written then. What needs no data is checked before anything is written. Whoever calls it holds the folder's `RunLock`.
 */
export async function runTraining(given: TrainConfig, context: RunContext): Promise<TrainEvent> {
  const launched = launchedProcess();
  if (launched !== undefined && given.method === "dpo") {
    throw new TrainError("train.preference.group", "--method dpo trains on one process", {
      remedy: "Start it without mpirun.",
    });
  }
  if (launched === undefined) return await prepareAndRun(given, context);
  const leader = await GroupLeader.form(given);
  const threads = given.threads ?? (hasThreads(given.engine) ? threadsBeside(launched) : undefined);
  let last: TrainEvent;
  try {
    // An update that does not go round is refused before anything is prepared.
    leader.require(given);
    last = await prepareAndRun({ ...given, threads }, context, leader);
  } catch (error) {
    await leader.end(error);
    throw error;
  }
  await leader.end();
  return last;
}

async function prepareAndRun(
  given: TrainConfig,
  context: RunContext,
  leader?: GroupLeader,
): Promise<TrainEvent> {
  claimFolder(given);
  trackerNames(given.report_to ?? "");
  const found = given.resume ? newestWholeCheckpoint(given.output_dir) : undefined;
  const notes: string[] = [];
  const meant = found === undefined ? given : withSavedMeaning(given, found);
  const known = withArithmetic(meant, found, (text) => notes.push(text));
  // How long a run of epochs is, its data say.
  const finished = found && known.epochs === undefined && finishedNotice(known, found);
  if (finished !== undefined && finished !== false) return finishedEvent(finished, found, context);
  const engine = await createEngine(known.engine, {
    ...engineOptions(known),
    ...joinSettings(known, leader !== undefined),
    onChoice: (reason) => notes.push(reason),
  });
  try {
    requirePlacement(known, engine);
    const based = withResizedBase(known, (text) => notes.push(text));
    const placed = placeBase(based, leader !== undefined, engine, (text) => notes.push(text));
    const planned = { ...placed, engine: engine.description.name };
    // Before data are read, which may take minutes, and before the folder is written to.
    const modelFolder = found === undefined ? modelFolderOf(placed) : undefined;
    const model = trainedModel(placed, plannedModel(placed), modelFolder);
    checkWeightFiles(model);
    // In a group each process looks at its own part, once it knows it.
    if (leader === undefined) requireMemory(planOf(planned, model).plan);
    const preparation = new PreparationLog(given.output_dir, found?.checkpoint?.step ?? 0);
    let data: PreparedData | undefined;
    try {
      data = prepareData(placed, (text) => {
        context.onProgress(text);
        preparation.tell(text);
      });
      preparation.close();
      const config = withEpochs({ ...placed, data: data.dataPath }, data);
      const ended = found && known.epochs !== undefined ? finishedNotice(config, found) : undefined;
      if (ended !== undefined) return finishedEvent(ended, found, context);
      const { wasThere: isFollowed } = preparation;
      const parts = { data, engine, found, notes, leader, isFollowed };
      return await new TrainingRun(config, context, parts).go();
    } catch (error) {
      preparation.discard();
      throw error;
    } finally {
      data?.close();
    }
  } finally {
    await engine.close();
  }
}

function finishedEvent(
  message: string,
  found: FoundCheckpoint | undefined,
  context: RunContext,
): TrainEvent {
  const step = found?.checkpoint?.step ?? 0;
  const event: TrainEvent = { t: Date.now() / 1000, kind: "notice", step, message };
  context.onEvent(event);
  return event;
}

/** The settings with as many steps as their epochs have. */
function withEpochs(config: TrainConfig, data: PreparedData): TrainConfig {
  if (config.epochs === undefined) return config;
  const { rowsPerEpoch } = data.train.batches({ batchSize: config.batch_size, seed: config.seed });
  const rowsPerStep = config.batch_size * config.gradient_accumulation_steps;
  const steps = Math.ceil((config.epochs * rowsPerEpoch) / rowsPerStep);
  return { ...config, max_steps: Math.max(1, steps) };
}
