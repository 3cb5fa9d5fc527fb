import type { FoundCheckpoint } from "../../runs/whole-checkpoints.ts";
import { readTrainerState } from "../../runs/state.ts";

/**
 * The settings of a run that goes on, with the meaning they had when it began: version 0.1 put no begin tokens before
 * documents, and its learning rate would have reached the minimum one update after the last.
 */
export function withSavedMeaning<
  Settings extends {
    readonly max_steps: number;
    readonly begin_tokens: string;
    readonly lr_decay_steps?: number | undefined;
  },
>(config: Settings, { checkpoint }: Pick<FoundCheckpoint, "checkpoint">): Settings {
  if (checkpoint === undefined) return config;
  const saved = readTrainerState(checkpoint.folder).config;
  if (Object.hasOwn(saved, "begin_tokens")) return config;
  return {
    ...config,
    begin_tokens: "none",
    lr_decay_steps: config.lr_decay_steps ?? config.max_steps + 1,
  };
}
