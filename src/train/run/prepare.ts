import { existsSync } from "node:fs";
import { join } from "node:path";
import { readGenerationConfig, readModelConfig } from "../../model/index.ts";
import type { GenerationConfig, ModelConfig } from "../../model/index.ts";
import {
  byteTokenizer,
  characterTokenizer,
  chatTemplateSource,
  beginningWithEnd,
  exampleFormOf,
  exampleTexts,
  keepStandardInput,
  STANDARD_INPUT,
  hasTokenizer,
  loadTokenizer,
  openDataset,
  saveTokenizer,
  trainBpe,
  trainingFrame,
  trainingTexts,
  withChatTemplate,
  windowSplit,
  withLead,
} from "../../text/index.ts";
import type {
  CorpusPaths,
  Dataset,
  DataSplit,
  DescribedTokenizer,
  ExampleForm,
} from "../../text/index.ts";
import { Random } from "../../util/random.ts";
import type { ModelSettings, PreparationSettings } from "../config/part-settings.ts";
import { requireRows } from "../../runs/model-fit.ts";
import { listCheckpoints } from "../../runs/checkpoint.ts";
import { TrainError } from "../errors.ts";
import { resolveModelFolder, resolveTokenizer, TOKENIZER_KINDS } from "../../runs/model-path.ts";
import { locatedPath } from "../config/saved-settings.ts";
import { modelShape, shapeSource } from "../config/model-shape.ts";
import { SIZE_KEYS } from "../config/size-keys.ts";
import { presetOf } from "../config/presets.ts";
import { fieldNames } from "../config/data-options.ts";
import { encoderOptions, exampleSplits, formOf, windowSplits } from "./splits.ts";
import type { Splits } from "./splits.ts";
import { writeStoryCorpus } from "./story-corpus.ts";

const TOKENIZER_TRAINING_BYTES = 8 << 20;

/** All of a run that is not the engine: model, tokenizer, tokens. */
export interface PreparedData {
  readonly model: ModelConfig;
  /** Whose weights a new run begins with. */
  readonly modelFolder: string | undefined;
  /** Absent when the data are token ids of unknown spelling. */
  readonly tokenizer: DescribedTokenizer | undefined;
  /** How the model that the run begins from wants to be sampled. */
  readonly generation: GenerationConfig | undefined;
  /** `bpe`, `char`, `byte`, or where it was read from. */
  readonly tokenizerName: string | undefined;
  readonly train: DataSplit;
  readonly validation: DataSplit | undefined;
  /** Where the data are, standard input included. */
  readonly dataPath: CorpusPaths;
  /** Tells the training data from others; absent where they are drawn. */
  readonly dataDigest: string | undefined;
  /** What a user should know: a vocabulary larger than the tokenizer, a cache made, ... */
  readonly notices: readonly string[];
  /** Closes the data's files. */
  close(): void;
}

/** Hears what preparation is doing, as one sentence. */
export type Report = (text: string) => void;

/**
 * Everything of a run that is not the engine: tokenizer, tokens, and the model's configuration with the sizes
 * that follow from them. Reads what an earlier start of the same run left in its folder.
 */
export function prepareData(config: PreparationSettings, report: Report): PreparedData {
  const notices: string[] = [];
  const cacheFolder = join(config.output_dir, "data");
  const note = (message: string): void => void notices.push(message);
  const modelFolder = modelFolderOf(config, note);
  if (config.data === "random") return randomData(config, modelFolder, notices);

  const dataPath = dataPathOf(config, cacheFolder);
  const path =
    config.data === "stories"
      ? writeStoryCorpus(cacheFolder, {
          storyCount: config.story_count,
          keep: config.resume && listCheckpoints(config.output_dir).length > 0,
          report,
        })
      : dataPath;
  const kept = join(config.output_dir, "tokenizer");
  const isKept = config.resume && existsSync(join(kept, "tokenizer.json"));
  const form = formOf(path, config);
  const tokenizer = isKept
    ? loadTokenizer(kept)
    : withGivenTemplate(
        makeTokenizer(config, modelFolder, { path, form }, report, note),
        config.chat_template,
      );
  const tokenCount = tokenizer.tokenizer.vocabularySize;
  const sized = resumedPreset(config) ?? sizedModel(config, modelFolder, tokenCount);
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
  const isOwn = !isKept && ownTokenizer(modelFolder) === undefined;
  const parts = { config, tokenizer, isOwn, cacheFolder, report };
  const begun = form === undefined ? openStream(path, parts) : openRows(path, form, parts);
  const judged = evaluationData(begun.tokenizer, parts);
  // Not before the data are known to be good: a run that cannot begin leaves nothing.
  if (!isKept) saveTokenizer(kept, begun.tokenizer);
  notices.push(...begun.notes, ...(judged?.notes ?? []));
  return {
    model,
    modelFolder,
    tokenizer: begun.tokenizer,
    generation: modelFolder === undefined ? undefined : readGenerationConfig(modelFolder, model),
    tokenizerName: ownTokenizer(modelFolder) ?? config.tokenizer,
    train: begun.train,
    validation: judged === undefined ? begun.validation : judged.train,
    dataPath,
    dataDigest: begun.digest,
    notices,
    close: () => {
      begun.close();
      judged?.close();
    },
  };
}

function withGivenTemplate(
  described: DescribedTokenizer,
  name: string | undefined,
): DescribedTokenizer {
  return name === undefined ? described : withChatTemplate(described, chatTemplateSource(name));
}

/** What data are opened with. */
interface DataParts {
  readonly config: PreparationSettings;
  readonly tokenizer: DescribedTokenizer;
  /** The tokenizer was made for these data. */
  readonly isOwn: boolean;
  readonly cacheFolder: string;
  readonly report: Report;
}

/** Data with the tokenizer as it is now known to begin documents. */
type OpenData = Splits & { readonly tokenizer: DescribedTokenizer };

function openStream(path: CorpusPaths, parts: DataParts): OpenData {
  const { config, tokenizer, isOwn } = parts;
  const dataset = datasetOf(path, parts, {
    frame: trainingFrame(tokenizer.tokenizer, config.begin_tokens),
    validationFraction: config.eval_data === undefined ? config.validation_fraction : 0,
  });
  const begun = isOwn ? withBeginnings(config, tokenizer, dataset) : { tokenizer, ...dataset };
  const splits = windowSplits(
    { ...dataset, train: begun.train, validation: begun.validation },
    config,
    begun.tokenizer.tokenizer,
  );
  return { ...splits, tokenizer: begun.tokenizer };
}

function openRows(path: CorpusPaths, form: ExampleForm, parts: DataParts): OpenData {
  const { config, report, isOwn } = parts;
  const tokenizer =
    isOwn && isMadeHere(config) && config.begin_tokens !== "none"
      ? beginningWithEnd(parts.tokenizer)
      : parts.tokenizer;
  const encoder = encoderOptions(config, tokenizer, nameOf(parts));
  const splits = exampleSplits(path, form, config, encoder, {
    validationFraction: config.eval_data === undefined ? config.validation_fraction : 0,
    onProgress: progressOf(report),
  });
  return { ...splits, tokenizer };
}

/** What has the tokenizer, and its chat template. */
function nameOf({ config }: DataParts): string {
  return config.model ?? config.tokenizer;
}

function progressOf(report: Report): (path: string, done: number, total: number) => void {
  return (path, done, total) =>
    report(`tokenizing ${path}: ${Math.round((100 * done) / Math.max(1, total))} %`);
}

function datasetOf(
  path: CorpusPaths,
  { config, tokenizer, cacheFolder, report }: DataParts,
  how: { readonly frame: ReturnType<typeof trainingFrame>; readonly validationFraction: number },
): Dataset {
  const tell = progressOf(report);
  return openDataset(path, {
    ...how,
    ...{ tokenizer: tokenizer.tokenizer, cacheFolder, textField: config.text_field },
    onProgress: ({ path: file, byteCount, byteTotal }) => tell(file, byteCount, byteTotal),
  });
}

/** Where the data are; what comes from standard input is kept in the run's folder. */
function dataPathOf(config: PreparationSettings, cacheFolder: string): CorpusPaths {
  const { data } = config;
  if (data === STANDARD_INPUT) return keepStandardInput(join(cacheFolder, "standard-input.txt"));
  return config.resume ? located(data, config.output_dir) : data;
}

function located(paths: CorpusPaths, runFolder: string): CorpusPaths {
  return typeof paths === "string"
    ? locatedPath(paths, runFolder)
    : paths.map((path) => locatedPath(path, runFolder));
}

/** Data of their own that a run is judged on. */
function evaluationData(described: DescribedTokenizer, parts: DataParts): Splits | undefined {
  const { tokenizer } = described;
  const { config, report } = parts;
  if (config.eval_data === undefined) return undefined;
  const path = located(config.eval_data, config.output_dir);
  const form = exampleFormOf(path, config.data_format, fieldNames(config));
  if (form !== undefined) {
    return exampleSplits(path, form, config, encoderOptions(config, described, nameOf(parts)), {
      validationFraction: 0,
      onProgress: progressOf(report),
    });
  }
  const frame = trainingFrame(tokenizer, config.begin_tokens);
  const dataset = datasetOf(path, parts, {
    // The lead is put before it once the tokenizer is known to have one.
    frame: { ...trainingFrame(parts.tokenizer.tokenizer, config.begin_tokens), lead: [] },
    validationFraction: 0,
  });
  return windowSplits(
    { ...dataset, train: withLead(dataset.train, frame.lead) },
    config,
    tokenizer,
  );
}

/**
 * A tokenizer that was made for data of several documents: these are joined by the end-of-text token, which therefore
 * begins each of them, and texts that are generated.
 */
function withBeginnings(
  config: PreparationSettings,
  tokenizer: DescribedTokenizer,
  dataset: Dataset,
): Pick<Dataset, "train" | "validation"> & { readonly tokenizer: DescribedTokenizer } {
  const documentCount = dataset.files
    .filter(({ split }) => split === "train")
    .reduce((sum, file) => sum + (file.documentCount ?? 0), 0);
  const end = tokenizer.tokenizer.special.endOfText;
  if (
    !isMadeHere(config) ||
    config.begin_tokens === "none" ||
    documentCount < 2 ||
    end === undefined
  ) {
    return { tokenizer, ...dataset };
  }
  const hasOwnFile = dataset.files.some(({ split }) => split === "validation");
  return {
    tokenizer: beginningWithEnd(tokenizer),
    train: withLead(dataset.train, [end]),
    validation:
      dataset.validation && hasOwnFile ? withLead(dataset.validation, [end]) : dataset.validation,
  };
}

function isMadeHere({ tokenizer }: PreparationSettings): boolean {
  return TOKENIZER_KINDS.some((kind) => kind === tokenizer);
}

/**
 * The model of a run without its data, for plans: where the vocabulary would follow from the tokenizer,
 * `vocab_size` stands in, or the preset's own for tokenizers that are not trained to a size.
 */
export function plannedModel(config: ModelSettings): ModelConfig {
  return sizedModel(config, modelFolderOf(config), undefined);
}

/**
 * The folder or file of the model that a run begins with. A run that goes on has all it needs of the folder it began from.
 */
export function modelFolderOf(
  config: ModelSettings,
  note?: (message: string) => void,
): string | undefined {
  const { model, resume, output_dir: run } = config;
  if (model === undefined) return undefined;
  const isGone = resume && !existsSync(model) && listCheckpoints(run).length > 0;
  return resolveModelFolder(isGone ? run : model, note);
}

/**
 * The model that a run goes on with where a preset names it: presets may have changed since the run began, its
 * checkpoints have not. Nothing for runs whose sizes are given.
 */
function resumedPreset(config: ModelSettings): ModelConfig | undefined {
  if (!config.resume || shapeSource(config).kind !== "preset") return undefined;
  if (SIZE_KEYS.some((key) => config[key] !== undefined)) return undefined;
  const newest = listCheckpoints(config.output_dir).at(-1)?.folder;
  return newest === undefined || !existsSync(join(newest, "config.json"))
    ? undefined
    : readModelConfig(newest);
}

/**
 * The model of a run, with the tokenizer's vocabulary where it follows it; without a token count, with the vocabulary
 * that is planned. Throws `TrainError` where the tokenizer or the sequence length does not fit.
 */
function sizedModel(
  config: ModelSettings,
  modelFolder: string | undefined,
  tokenCount: number | undefined,
): ModelConfig {
  const { model } = modelShape(config, modelFolder, {
    vocabularySize: tokenCount ?? plannedVocabulary(config),
    contextLength: config.max_seq_length,
  });
  if (tokenCount !== undefined) requireRows(tokenCount, model.vocabularySize);
  if (model.contextLength < config.max_seq_length) {
    throw new TrainError(
      "train.context",
      `max_seq_length ${config.max_seq_length} is longer than the model's context of ${model.contextLength} tokens`,
      { remedy: `Use --max-seq-length ${model.contextLength} or less.` },
    );
  }
  return model;
}

/** Tokens of a tokenizer that is not made yet: `vocab_size` of one that is trained to it. */
function plannedVocabulary(config: ModelSettings): number {
  switch (config.tokenizer) {
    case "bpe":
      return config.vocab_size;
    case "byte":
      return byteTokenizer().tokenizer.vocabularySize;
    default: {
      const source = shapeSource(config);
      return source.kind === "preset"
        ? presetOf(source.name).model.vocabularySize
        : config.vocab_size;
    }
  }
}

function makeTokenizer(
  config: PreparationSettings,
  modelFolder: string | undefined,
  data: { readonly path: CorpusPaths; readonly form: ExampleForm | undefined },
  report: Report,
  note: (message: string) => void,
): DescribedTokenizer {
  const own = ownTokenizer(modelFolder);
  if (own !== undefined) return loadTokenizer(own);
  switch (config.tokenizer) {
    case "byte":
      return byteTokenizer();
    case "char":
      return characterTokenizer(textsOf(config, data, Infinity));
    case "bpe":
      report("training a tokenizer");
      return trainBpe(textsOf(config, data, TOKENIZER_TRAINING_BYTES), {
        vocabularySize: config.vocab_size,
        onProgress: (done, total) => report(`training a tokenizer: ${done} of ${total} merges`),
      });
    default:
      return loadTokenizer(resolveTokenizer(config.tokenizer, note));
  }
}

/** Texts that a tokenizer is trained on. */
function* textsOf(
  config: PreparationSettings,
  { path, form }: { readonly path: CorpusPaths; readonly form: ExampleForm | undefined },
  byteLimit: number,
): Generator<string> {
  if (form === undefined) {
    yield* trainingTexts(path, { byteLimit, textField: config.text_field });
    return;
  }
  let left = byteLimit;
  for (const text of exampleTexts(path, form, fieldNames(config))) {
    yield text;
    left -= Buffer.byteLength(text);
    if (left <= 0) return;
  }
}

/** The folder of a model that has a tokenizer: no other one fits it. */
function ownTokenizer(modelFolder: string | undefined): string | undefined {
  const hasOne = modelFolder !== undefined && hasTokenizer(modelFolder);
  return hasOne ? modelFolder : undefined;
}

/** Token ids drawn at random: for measuring speed and memory of any vocabulary without a corpus. */
function randomData(
  config: PreparationSettings,
  modelFolder: string | undefined,
  notices: readonly string[],
): PreparedData {
  const model = sizedModel(config, modelFolder, undefined);
  const split = (name: string, tokenCount: number, seed: number): DataSplit =>
    windowSplit(
      {
        name,
        tokenCount,
        read(position, target) {
          const random = new Random(seed + position);
          for (let index = 0; index < target.length; index++) {
            target[index] = random.below(model.vocabularySize);
          }
        },
      },
      { contextLength: config.max_seq_length, sampling: config.sampling, marks: {} },
    );
  const windowTokens = config.batch_size * (config.max_seq_length + 1);
  return {
    model,
    modelFolder,
    tokenizer: undefined,
    generation: undefined,
    tokenizerName: undefined,
    train: split("random tokens", 1000 * windowTokens, 1),
    validation: split("random tokens", 2 * windowTokens, 2),
    dataPath: config.data,
    dataDigest: undefined,
    notices: [
      ...notices,
      "the data are random token ids: the loss says nothing, only speed and memory count",
    ],
    close: () => undefined,
  };
}
