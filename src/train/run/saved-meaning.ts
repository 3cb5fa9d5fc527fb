import type { FoundCheckpoint } from "../../runs/whole-checkpoints.ts";
import type { DataFormat } from "../../text/index.ts";
import { readTrainerState } from "../../runs/state.ts";

/**
 * The settings of a run that goes on, with the meaning they had when it began: version 0.1 put no begin tokens before
 * documents, and its learning rate would have reached the minimum one update after the last. What did not know examples
 * read rows as one stream of text.
 */
export function withSavedMeaning<
  Settings extends {
    readonly max_steps: number;
    readonly begin_tokens: string;
    readonly lr_decay_steps?: number | undefined;
    readonly data_format: DataFormat;
  },
>(config: Settings, { checkpoint }: Pick<FoundCheckpoint, "checkpoint">): Settings {
  if (checkpoint === undefined) return config;
  const saved = readTrainerState(checkpoint.folder).config;
  const read: Settings = Object.hasOwn(saved, "data_format")
    ? config
    : { ...config, data_format: "stream" };
  if (Object.hasOwn(saved, "begin_tokens")) return read;
  return {
    ...read,
    begin_tokens: "none",
    lr_decay_steps: config.lr_decay_steps ?? config.max_steps + 1,
  };
}
