import { existsSync } from "node:fs";
import { join } from "node:path";
import { COMMAND_LINE, OptionError, flagName } from "../../util/options.ts";
import type { OptionLayer } from "../../util/options.ts";
import type { ResolvedTrainConfig, TrainConfig } from "./config.ts";
import { TOKENIZER_KINDS } from "../../runs/model-path.ts";

type Key = keyof TrainConfig;

interface Rule {
  readonly key: Key;
  /** Why the setting would do nothing here, as a sentence without its subject; nothing where it does. */
  readonly reason: (config: TrainConfig) => string | undefined;
  readonly remedy: string;
}

const RULES: readonly Rule[] = [
  {
    key: "tokenizer",
    reason: ({ model, tokenizer }) =>
      model !== undefined && model !== tokenizer && hasTokenizer(model)
        ? `the model ${model} has a tokenizer of its own, and no other one fits it`
        : undefined,
    remedy: "Leave --tokenizer out, or train a new model with --model-config.",
  },
  {
    key: "vocab_size",
    reason: ({ model, tokenizer }) => {
      if (model !== undefined && hasTokenizer(model)) {
        return `the model ${model} has a tokenizer of its own`;
      }
      if (tokenizer === "bpe") return undefined;
      return TOKENIZER_KINDS.some((kind) => kind === tokenizer)
        ? `a tokenizer by ${tokenizer === "char" ? "characters" : "bytes"} has the size it has`
        : `the tokenizer ${tokenizer} has a vocabulary of its own`;
    },
    remedy: "Leave --vocab-size out, or train a tokenizer of that size with --tokenizer bpe.",
  },
  {
    key: "story_count",
    reason: ({ data }) =>
      data === "stories" ? undefined : `it counts built-in stories, and the data are ${data}`,
    remedy: "Leave --story-count out, or --data.",
  },
  ...(["tokenizer", "vocab_size"] as const).map((key) => ({
    key,
    reason: ({ data }: TrainConfig) =>
      data === "random" ? "random token ids need no tokenizer" : undefined,
    remedy: `Leave ${flagName(key)} out, or name data to train on.`,
  })),
];

/** What a run was begun with and keeps. */
const KEPT: readonly Key[] = ["model", "model_config", "tokenizer", "vocab_size", "story_count"];

/**
 * Settings that a user gave and that would do nothing. Throws `OptionError` for one of the command line; returns a
 * sentence for each one of a file. `saved`: the settings of the run that is resumed.
 */
export function checkIgnoredOptions(
  { config, origins }: ResolvedTrainConfig,
  saved: OptionLayer | undefined,
): readonly string[] {
  const notes: string[] = [];
  const tell = (key: Key, reason: string, remedy: string): void => {
    const origin = origins.get(key);
    const value = String(config[key]);
    if (origin === COMMAND_LINE) {
      throw new OptionError(
        "option.ignored",
        `${flagName(key)} ${value} would do nothing: ${reason}`,
        { remedy },
      );
    }
    notes.push(`${origin ?? ""}: ${key} ${value} does nothing: ${reason}`);
  };
  const isGiven = (key: Key): boolean =>
    !["default", "preset", saved?.origin].includes(origins.get(key) ?? "default");
  if (saved !== undefined) {
    for (const key of KEPT) {
      const before = saved.values[key];
      if (!isGiven(key) || config[key] === before) continue;
      tell(
        key,
        `the run was begun ${before === undefined ? `without ${flagName(key)}` : `with ${JSON.stringify(before)}`} and keeps that`,
        "Leave it out, or begin another run with another --output-dir.",
      );
    }
    return notes;
  }
  for (const { key, reason, remedy } of RULES) {
    const why = isGiven(key) ? reason(config) : undefined;
    if (why !== undefined) tell(key, why, remedy);
  }
  return notes;
}

/** A model folder, or a run's, that brings a tokenizer. */
function hasTokenizer(folder: string): boolean {
  return ["tokenizer.json", join("tokenizer", "tokenizer.json")].some((name) =>
    existsSync(join(folder, name)),
  );
}
