import { autoChoice } from "../../engine/auto.ts";
import { AnecdoteError, messageOf } from "../../util/errors.ts";
import { listCheckpoints } from "../../runs/checkpoint.ts";
import { logNotice } from "../../runs/event-log.ts";
import type { TrainEvent } from "../../runs/events.ts";
import type { TrainConfig } from "../config/config.ts";

/** What of a session concerns a change of the engine. */
interface Listeners {
  readonly onEvent?: (event: TrainEvent) => void;
  readonly signal?: AbortSignal;
}

/**
 * Trains, and where the Neural Engine fails that "auto" chose (it does not compile, reports an error, hangs, or gives
 * numbers that are none), goes on with the CPU from the last checkpoint, and says so in the run's events. Whoever asks
 * for `--engine ane` gets the error. A crash of the library ends the process: there is nothing left to go on.
 */
export async function withCpuBehind<Options extends Listeners>(
  config: TrainConfig,
  options: Options,
  run: (config: TrainConfig, options: Options) => Promise<TrainEvent>,
): Promise<TrainEvent> {
  if (config.engine !== "auto") return await run(config, options);
  const { ane_driver: driver } = config;
  const { engine } = await autoChoice({ ...(driver !== undefined && { driver }) });
  try {
    return await run(config, options);
  } catch (error) {
    if (engine !== "ane" || !isOfEngine(error) || options.signal?.aborted === true) throw error;
    const step = listCheckpoints(config.output_dir).at(-1)?.step ?? 0;
    const from = step === 0 ? "from the beginning" : `from the checkpoint of step ${step}`;
    const message = `THE NEURAL ENGINE FAILED, going on with cpu ${from}: ${messageOf(error)}`;
    options.onEvent?.(logNotice(config.output_dir, step, message));
    // Settings of the engine that failed mean nothing to this one.
    const { ane_driver: _, ...rest } = config;
    return await run({ ...rest, engine: "cpu", resume: true }, options);
  }
}

/** Errors that another engine may not have; wrong data and settings are wrong for all of them. */
function isOfEngine(error: unknown): boolean {
  if (!(error instanceof AnecdoteError)) return false;
  return error.code.startsWith("engine.") || error.code === "train.not_finite";
}
