import { existsSync } from "node:fs";
import { join } from "node:path";
import { readModelConfig } from "../../model/index.ts";
import { CONFIG_FILE } from "../../runs/config-file.ts";
import { resolveModelFolder } from "../../runs/model-path.ts";
import { readTrainLayer, resolveTrainConfig } from "./config.ts";
import type { ResolvedTrainConfig, TrainLayer, TrainSettings } from "./config.ts";
import { fileLayer } from "./file-layer.ts";
import { checkIgnoredOptions } from "./ignored-options.ts";
import { readShapeFile, shapeSource } from "./model-shape.ts";
import { presetOf } from "./presets.ts";

/** The settings of a run, with what to tell of them. */
export interface ResolvedRun extends ResolvedTrainConfig {
  /** Settings of files that do nothing, a sentence each. */
  readonly notes: readonly string[];
}

/**
 * The settings of a run: defaults, the preset's (storyteller's where nothing else shapes the model), what the model
 * says of itself, those that a run to resume was begun with, and `layers`, later ones over earlier ones. `defaults`: a
 * command's own, over the general ones. `isGroup`: settings of several processes are meant, whoever asks.
 * Throws `OptionError` for wrong names, values, and settings of the command line that would do nothing; `TrainError`,
 * `RunError` and `ModelError` for a preset, a folder or a file that is not there.
 */
export function resolveRun(
  layers: readonly TrainLayer[],
  defaults: TrainSettings = {},
  { isGroup }: { readonly isGroup?: boolean } = {},
): ResolvedRun {
  const given = merged(layers);
  const folder = given.output_dir;
  const path = folder === undefined ? undefined : join(folder, CONFIG_FILE);
  const saved =
    given.resume === true && path !== undefined && existsSync(path)
      ? readTrainLayer(fileLayer(path))
      : undefined;
  const all = saved === undefined ? layers : [saved, ...layers];
  const wanted = merged(all);
  const source = shapeSource(wanted);
  const named = wanted.preset ?? (source.kind === "preset" ? source.name : undefined);
  const settings = {
    ...(saved === undefined && defaults),
    ...(named !== undefined && presetOf(named).settings),
  };
  // A run that goes on has settled what its model says.
  const own = saved === undefined ? modelDefaults(wanted) : {};
  const resolved = resolveTrainConfig(settings, all, own);
  return { ...resolved, notes: checkIgnoredOptions(resolved, saved, isGroup) };
}

function merged(layers: readonly TrainLayer[]): TrainSettings {
  return layers.reduce<TrainSettings>((all, { values }) => ({ ...all, ...values }), {});
}

/** Longer contexts are there for those who ask: memory and time grow with their square. */
const LONGEST_DEFAULT_CONTEXT = 1024;
/** Bytes and the end of a text: the smallest that a tokenizer is trained to. */
const SMALLEST_VOCABULARY = 257;

/** What a model's folder or `config.json` says of settings that nobody gave. */
function modelDefaults(settings: TrainSettings): TrainSettings {
  const source = shapeSource(settings);
  switch (source.kind) {
    case "folder": {
      const folder = resolveModelFolder(source.path);
      const { vocabularySize, contextLength } = readModelConfig(folder);
      return {
        ...sizeDefaults({ vocabularySize, contextLength }),
        ...(existsSync(join(folder, "tokenizer.json")) && { tokenizer: source.path }),
      };
    }
    case "file": {
      const unknown = { vocabularySize: SMALLEST_VOCABULARY, contextLength: 2 };
      const { model, leavesOut } = readShapeFile(source.path, unknown);
      return sizeDefaults({
        vocabularySize: leavesOut.has("vocabularySize") ? undefined : model.vocabularySize,
        contextLength: leavesOut.has("contextLength") ? undefined : model.contextLength,
      });
    }
    case "preset":
    case "sizes":
      return {};
  }
}

function sizeDefaults(sizes: {
  readonly vocabularySize: number | undefined;
  readonly contextLength: number | undefined;
}): TrainSettings {
  const { vocabularySize, contextLength } = sizes;
  return {
    ...(contextLength !== undefined && {
      max_seq_length: Math.min(contextLength, LONGEST_DEFAULT_CONTEXT),
    }),
    ...(vocabularySize !== undefined &&
      vocabularySize >= SMALLEST_VOCABULARY && { vocab_size: vocabularySize }),
  };
}
