import { closeSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { TrainEvent } from "../runs/events.ts";
import { writeWholeFile } from "../util/atomic-file.ts";
import { FileError, messageOf } from "../util/errors.ts";
import { numbersOf } from "./tracker.ts";
import type { Tracker, TrackerStart } from "./tracker.ts";

/** Columns in order; each row is a report or an evaluation, and has what that one tells. */
export const CSV_COLUMNS = [
  ...["step", "time", "train_loss", "eval_loss", "perplexity", "learning_rate", "gradient_norm"],
  ...["loss_scale", "tokens_per_second", "iterations_per_second", "trained_tokens"],
  ...["engine_share", "tflops", "tflops_per_watt", "watts", "ane_watts", "energy_joules"],
  ...["joules_per_step", "joules_per_token"],
  ...["chosen_reward", "rejected_reward", "reward_margin", "reward_accuracy"],
] as const;

/** A run's numbers as metrics.csv in its folder, one row a report or evaluation. A resumed run writes it anew. */
export class CsvTracker implements Tracker {
  readonly path: string;
  readonly #handle: number;

  /** Throws `FileError` where the file cannot be written. */
  constructor({ runFolder, before }: TrackerStart, path = join(runFolder, "metrics.csv")) {
    this.path = path;
    writeWholeFile(path, [CSV_COLUMNS.join(","), ...before.flatMap(rowOf), ""].join("\n"));
    try {
      this.#handle = openSync(path, "a");
    } catch (error) {
      throw new FileError("file.open", `cannot write ${path}: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }

  add(event: TrainEvent): void {
    for (const row of rowOf(event)) {
      try {
        writeSync(this.#handle, `${row}\n`);
      } catch (error) {
        throw new FileError("file.write", `cannot write ${this.path}: ${messageOf(error)}`, {
          cause: error,
        });
      }
    }
  }

  close(): void {
    closeSync(this.#handle);
  }
}

/** Numbers alone, so that nothing needs quotes. */
function rowOf(event: TrainEvent): readonly string[] {
  if (event.kind !== "step" && event.kind !== "eval") return [];
  const numbers = new Map(numbersOf(event));
  numbers.set("step", event.step);
  numbers.set("time", event.t);
  return [CSV_COLUMNS.map((name) => String(numbers.get(name) ?? "")).join(",")];
}
