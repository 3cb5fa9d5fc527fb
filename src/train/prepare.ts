import { existsSync } from "node:fs";
import { join } from "node:path";
import { parseModelConfig, readJsonFile, readModelConfig } from "../model/index.ts";
import type { ModelConfig } from "../model/index.ts";
import {
  byteTokenizer,
  characterTokenizer,
  loadTokenizer,
  openDataset,
  saveTokenizer,
  trainBpe,
  trainingTexts,
} from "../text/index.ts";
import type { DescribedTokenizer, TokenView } from "../text/index.ts";
import { Random } from "../util/random.ts";
import type { TrainConfig } from "./config.ts";
import { TrainError } from "./errors.ts";
import { presetOf } from "./presets.ts";
import { writeStoryCorpus } from "./story-corpus.ts";

const TOKENIZER_TRAINING_BYTES = 8 << 20;
const CONFIG_BYTE_LIMIT = 1 << 20;

export interface PreparedData {
  readonly model: ModelConfig;
  /** Absent when the data are token ids of unknown spelling. */
  readonly tokenizer: DescribedTokenizer | undefined;
  readonly train: TokenView;
  readonly validation: TokenView | undefined;
  /** What a user should know: a vocabulary larger than the tokenizer, a cache made, ... */
  readonly notices: readonly string[];
  close(): void;
}

export type Report = (text: string) => void;

/**
 * Everything of a run that is not the engine: tokenizer, tokens, and the model's configuration with the sizes
 * that follow from them. Reads what an earlier start of the same run left in its folder.
 */
export function prepareData(config: TrainConfig, report: Report): PreparedData {
  const notices: string[] = [];
  const cacheFolder = join(config.output_dir, "data");
  if (config.data === "random") return randomData(config);

  const path =
    config.data === "stories"
      ? writeStoryCorpus(cacheFolder, config.story_count, report)
      : config.data;
  const kept = join(config.output_dir, "tokenizer");
  const isKept = config.resume && existsSync(join(kept, "tokenizer.json"));
  const tokenizer = isKept ? loadTokenizer(kept) : makeTokenizer(config, path, report);
  const tokenCount = tokenizer.tokenizer.vocabularySize;
  const sized = sizedModel(config, tokenCount);
  const { endOfText } = tokenizer.tokenizer.special;
  const model =
    sized.endTokenIds.length > 0 || endOfText === undefined
      ? sized
      : { ...sized, endTokenIds: [endOfText] };
  if (model.vocabularySize > tokenCount) {
    notices.push(
      `the model has room for ${model.vocabularySize} tokens, the tokenizer uses ${tokenCount} of them`,
    );
  }
  const dataset = openDataset(path, {
    tokenizer: tokenizer.tokenizer,
    cacheFolder,
    textField: config.text_field,
    validationFraction: config.validation_fraction,
    onProgress: ({ path: file, byteCount, byteTotal }) =>
      report(`tokenizing ${file}: ${Math.round((100 * byteCount) / Math.max(1, byteTotal))} %`),
  });
  // Not before the data are known to be good: a run that cannot begin leaves nothing.
  if (!isKept) saveTokenizer(kept, tokenizer);
  const unknownCount = dataset.files.reduce((sum, file) => sum + file.unknownCount, 0);
  if (unknownCount > 0) {
    notices.push(`${unknownCount} characters of the data are not in the tokenizer's vocabulary`);
  }
  return {
    model,
    tokenizer,
    train: dataset.train,
    validation: dataset.validation,
    notices,
    close: () => dataset.close(),
  };
}

/**
 * The model of a run without its data, for plans: where the vocabulary would follow from the tokenizer,
 * `vocab_size` stands in.
 */
export function plannedModel(config: TrainConfig): ModelConfig {
  const ownShape = config.model !== undefined || config.model_config !== undefined;
  const follows = !ownShape && presetOf(config.preset ?? "storyteller").vocabularyFollowsTokenizer;
  return sizedModel(config, follows && config.tokenizer === "bpe" ? config.vocab_size : undefined);
}

/**
 * The model of a run: from a folder, a config.json or a preset, with the tokenizer's vocabulary where it follows it.
 * Throws `TrainError` where the tokenizer or the sequence length does not fit.
 */
function sizedModel(config: TrainConfig, tokenCount: number | undefined): ModelConfig {
  const preset =
    config.model === undefined && config.model_config === undefined
      ? presetOf(config.preset ?? "storyteller")
      : undefined;
  let model: ModelConfig;
  if (preset !== undefined) model = preset.model;
  else if (config.model !== undefined) model = readModelConfig(config.model);
  else {
    const path = config.model_config ?? "";
    model = parseModelConfig(readJsonFile(path, CONFIG_BYTE_LIMIT), path);
  }
  if (preset?.vocabularyFollowsTokenizer === true && tokenCount !== undefined) {
    model = { ...model, vocabularySize: tokenCount };
  }
  if (tokenCount !== undefined && model.vocabularySize < tokenCount) {
    throw new TrainError(
      "train.vocabulary",
      `the tokenizer has ${tokenCount} tokens, the model ${model.vocabularySize}`,
      { remedy: "Use the model's own tokenizer, or train one with --vocab-size." },
    );
  }
  if (model.contextLength < config.max_seq_length) {
    throw new TrainError(
      "train.context",
      `max_seq_length ${config.max_seq_length} is longer than the model's context of ${model.contextLength} tokens`,
      { remedy: `Use --max-seq-length ${model.contextLength} or less.` },
    );
  }
  return model;
}

function makeTokenizer(config: TrainConfig, path: string, report: Report): DescribedTokenizer {
  if (config.model !== undefined && existsSync(join(config.model, "tokenizer.json"))) {
    return loadTokenizer(config.model);
  }
  const textField = config.text_field;
  switch (config.tokenizer) {
    case "byte":
      return byteTokenizer();
    case "char":
      return characterTokenizer(trainingTexts(path, { textField }));
    case "bpe":
      report("training a tokenizer");
      return trainBpe(trainingTexts(path, { byteLimit: TOKENIZER_TRAINING_BYTES, textField }), {
        vocabularySize: config.vocab_size,
        onProgress: (done, total) => report(`training a tokenizer: ${done} of ${total} merges`),
      });
    default:
      return loadTokenizer(config.tokenizer);
  }
}

/** Token ids drawn at random: for measuring speed and memory of any vocabulary without a corpus. */
function randomData(config: TrainConfig): PreparedData {
  const model = sizedModel(config, undefined);
  const tokenView = (name: string, tokenCount: number, seed: number): TokenView => ({
    name,
    tokenCount,
    read(position, target) {
      const random = new Random(seed + position);
      for (let index = 0; index < target.length; index++) {
        target[index] = random.below(model.vocabularySize);
      }
    },
  });
  const windowTokens = config.batch_size * (config.max_seq_length + 1);
  return {
    model,
    tokenizer: undefined,
    train: tokenView("random tokens", 1000 * windowTokens, 1),
    validation: tokenView("random tokens", 2 * windowTokens, 2),
    notices: ["the data are random token ids: the loss says nothing, only speed and memory count"],
    close: () => undefined,
  };
}
