import { estimateStep, estimateToken, plannedTraining } from "../train/index.ts";
import type { PricedSettings } from "../train/index.ts";
import { UsageError } from "./errors.ts";
import type { Answer, EstimateFlags, Target } from "./estimate-answer.ts";

/** Flags that only a file has a use for. */
const FILE_FLAGS = ["function", "shape", "dim", "hostCopies", "asWritten"] as const;

/** What `estimate --preset` or `--model` predicts: a training step, or a token. */
export function estimateModel(
  config: PricedSettings,
  { chip, driver, calibrated }: Target,
  flags: EstimateFlags,
): Answer {
  for (const name of FILE_FLAGS) {
    const value = flags[name];
    if (value === undefined || (Array.isArray(value) && value.length === 0)) continue;
    const flag = name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    throw new UsageError(
      "cli.estimate.file",
      `--${flag} is for a file's function, not for a model`,
    );
  }
  const target = {
    chip,
    ...(driver !== undefined && { driver }),
    ...(calibrated !== undefined && { calibrated }),
  };
  const model = plannedTraining(config);
  const name = config.preset ?? config.model ?? config.model_config ?? model.config.family;
  if (flags.token === true) {
    const { estimate, cacheLength } = estimateToken(config, target);
    return { estimate, what: `${name}, one token with a cache of ${cacheLength} positions`, model };
  }
  const { estimate, tokenCount, ...rest } = estimateStep(config, target);
  return { estimate, what: `${name}, one training step of ${tokenCount} tokens`, model, ...rest };
}
