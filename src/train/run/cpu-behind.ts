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

type Run<Options> = (config: TrainConfig, options: Options) => Promise<TrainEvent>;

/**
 * Trains, and where the Neural Engine fails that "auto" chose (it does not compile, reports an error, hangs, or gives
 * numbers that are none, or its library crashes), goes on with the CPU from the last checkpoint, and says so in the
 * run's events. That engine runs `apart`, in a process of its own, so that a crash of its library ends that one alone.
 * Whoever asks for `--engine ane` has it in this process, and gets its errors.
 */
export async function withCpuBehind<Options extends Listeners>(
  config: TrainConfig,
  options: Options,
  { here, apart }: Readonly<Record<"here" | "apart", Run<Options>>>,
): Promise<TrainEvent> {
  if (config.engine !== "auto") return await here(config, options);
  const { ane_driver: driver } = config;
  const { engine } = await autoChoice({ ...(driver !== undefined && { driver }) });
  if (engine !== "ane") return await here(config, options);
  try {
    return await apart(config, options);
  } catch (error) {
    if (!isOfEngine(error) || options.signal?.aborted === true) throw error;
    const step = listCheckpoints(config.output_dir).at(-1)?.step ?? 0;
    const from = step === 0 ? "from the beginning" : `from the checkpoint of step ${step}`;
    const message = `THE NEURAL ENGINE FAILED, going on with cpu ${from}: ${messageOf(error)}`;
    options.onEvent?.(logNotice(config.output_dir, step, message));
    // Settings of the engine that failed mean nothing to this one.
    const { ane_driver: _, ...rest } = config;
    return await here({ ...rest, engine: "cpu", resume: true }, options);
  }
}

/** Errors that another engine may not have; wrong data and settings are wrong for all of them. */
function isOfEngine(error: unknown): boolean {
  if (!(error instanceof AnecdoteError)) return false;
  return error.code.startsWith("engine.") || error.code === "train.not_finite";
}
