import { createEngine, engineOptions } from "../engine/create.ts";
import type { EngineSettings } from "../engine/create.ts";
import { readGenerationConfig, readModelConfig } from "../model/index.ts";
import { requireRows } from "../runs/model-fit.ts";
import type { AdapterSource } from "../model/index.ts";
import { trainedBeginnings } from "../runs/trained-beginnings.ts";
import { loadTokenizer } from "../text/index.ts";
import { loadWeightPlan } from "./weight-plan.ts";
import { Generator } from "./generator.ts";
import { openInFormat } from "./weight-format.ts";
import type { WeightFormat } from "./weight-format.ts";
import { GREEDY } from "./sampling.ts";
import type { SamplingOptions } from "./sampling.ts";
import { samplingOf } from "./writing.ts";
import type { GenerateOptions, GeneratedText } from "./writing.ts";

/** The engine that a folder's model runs on. Default: "auto". */
export interface FolderOptions extends EngineSettings {
  readonly engine?: string;
  /** Adapters beside the folder's model, each by its weight. */
  readonly adapters?: readonly AdapterSource[];
  /** How matrices and tables stand in memory. Default: as the folder says. */
  readonly weights?: WeightFormat;
}

/**
 * Opens a model folder for writing text and hands the generator to `use`; everything is closed afterwards.
 * Throws `ModelError` or `TextError` for what is wrong in the folder, and for a model that the asked format does not suit.
 */
export async function withGenerator<Result>(
  folder: string,
  options: FolderOptions,
  use: (generator: Generator) => Promise<Result>,
): Promise<Result> {
  const opened = openInFormat(folder, options.adapters ?? [], options.weights);
  const { model } = opened;
  const { tokenizer } = loadTokenizer(folder);
  requireRows(tokenizer.vocabularySize, model.config.vocabularySize);
  const engine = await createEngine(options.engine ?? "auto", engineOptions(options));
  try {
    const weights = await loadWeightPlan(engine, opened);
    const generator = new Generator({
      ...{ engine, model, tokenizer, weights },
      trained: trainedBeginnings(folder),
      generation: readGenerationConfig(folder, model.config),
    });
    try {
      return await use(generator);
    } finally {
      await generator.close();
      await weights.close();
    }
  } finally {
    await engine.close();
  }
}

/** How a folder's model is sampled where nothing else is asked. */
export function folderSampling(folder: string): SamplingOptions {
  const generation = readGenerationConfig(folder, readModelConfig(folder));
  return { ...GREEDY, ...samplingOf(generation) };
}

/** Continues one prompt with the model of a folder. */
export async function generateFromFolder(
  folder: string,
  prompt: string,
  options: GenerateOptions & FolderOptions,
): Promise<GeneratedText> {
  return withGenerator(folder, options, (generator) => generator.generate(prompt, options));
}
