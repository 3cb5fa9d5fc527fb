import type { DataSplit } from "../../text/index.ts";
import type { HeldOutSettings } from "../config/part-settings.ts";
import { TrainError } from "../errors.ts";
import { newestWholeCheckpoint } from "../../runs/whole-checkpoints.ts";
import { prepareData } from "../run/prepare.ts";
import { withSavedMeaning } from "../run/saved-meaning.ts";

/** What a run judges itself on, and how. */
export interface HeldOut {
  readonly data: DataSplit;
  readonly batchSize: number;
  readonly sequenceLength: number;
  /** Closes the data's files. */
  readonly close: () => void;
}

/** The part of a run's data that it is not trained on. Throws `TrainError` for a run that holds nothing out. */
export function heldOutOf(config: HeldOutSettings, report: (text: string) => void): HeldOut {
  const found = newestWholeCheckpoint(config.output_dir);
  const prepared = prepareData({ ...withSavedMeaning(config, found), resume: true }, report);
  const { validation } = prepared;
  if (validation === undefined || validation.tokenCount < 2) {
    prepared.close();
    throw new TrainError("train.held-out", `the run ${config.output_dir} holds nothing out`, {
      remedy: "Name data to judge it on: --data FILE.",
    });
  }
  return {
    data: validation,
    batchSize: config.batch_size,
    sequenceLength: config.max_seq_length,
    close: () => {
      prepared.close();
    },
  };
}
