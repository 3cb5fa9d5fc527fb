import { parseModelConfig, readJsonFile, readModelConfig } from "../../model/index.ts";
import { fittingModel } from "../../model/fitting-sizes.ts";
import type { ModelSizes } from "../../model/fitting-sizes.ts";
import type { ModelConfig } from "../../model/index.ts";
import type { ShapeSettings } from "./part-settings.ts";
import { DEFAULT_PRESET, presetOf } from "./presets.ts";
import { SIZE_KEYS } from "./size-keys.ts";

const CONFIG_BYTE_LIMIT = 1 << 20;

/** Where the shape of a run's model comes from. */
export type ShapeSource =
  | { readonly kind: "folder"; readonly path: string }
  | { readonly kind: "file"; readonly path: string }
  | { readonly kind: "preset"; readonly name: string }
  /** Sizes alone: a new model that fits them. */
  | { readonly kind: "sizes" };

/** The source that a run's settings mean: a folder before a file before a preset; sizes may change a preset. */
export function shapeSource(settings: ShapeSettings): ShapeSource {
  const { model, model_config: file, preset } = settings;
  if (model !== undefined) return { kind: "folder", path: model };
  if (file !== undefined) return { kind: "file", path: file };
  if (preset !== undefined) return { kind: "preset", name: preset };
  return SIZE_KEYS.some((key) => settings[key] !== undefined)
    ? { kind: "sizes" }
    : { kind: "preset", name: DEFAULT_PRESET };
}

/** Sizes that follow from other settings where the model does not say them. */
export interface FollowingSizes {
  /** Of the tokenizer. */
  readonly vocabularySize: number;
  /** Tokens of a sequence. */
  readonly contextLength: number;
}

export interface ModelShape {
  readonly model: ModelConfig;
  /** Whether the vocabulary is the tokenizer's, whatever that has; otherwise the model's own stands. */
  readonly vocabularyFollowsTokenizer: boolean;
}

/**
 * The shape of a run's model: read from a folder or a `config.json`, or a preset's, or one that fits the chosen sizes.
 * `modelFolder`: what `model` means. Throws `ModelError` for sizes that cannot be, `TrainError` for an unknown preset.
 */
export function modelShape(
  settings: ShapeSettings,
  modelFolder: string | undefined,
  following: FollowingSizes,
): ModelShape {
  const source = shapeSource(settings);
  switch (source.kind) {
    case "folder":
      return {
        model: readModelConfig(modelFolder ?? source.path),
        vocabularyFollowsTokenizer: false,
      };
    case "file": {
      const { model, leavesOut } = readShapeFile(source.path, following);
      return { model, vocabularyFollowsTokenizer: leavesOut.has("vocabularySize") };
    }
    case "sizes":
      return {
        model: fittingModel(sizesOf(settings), following),
        vocabularyFollowsTokenizer: true,
      };
    case "preset": {
      const { model: base, vocabularyFollowsTokenizer } = presetOf(source.name);
      const isChanged = SIZE_KEYS.some((key) => settings[key] !== undefined);
      const own = isChanged ? fittingModel(sizesOf(settings), base, base) : base;
      const model = vocabularyFollowsTokenizer
        ? { ...own, vocabularySize: following.vocabularySize }
        : own;
      return { model, vocabularyFollowsTokenizer };
    }
  }
}

function sizesOf(settings: ShapeSettings): ModelSizes {
  return {
    family: settings.family,
    layerCount: settings.layers,
    channelCount: settings.hidden_size,
    headCount: settings.heads,
    keyValueHeadCount: settings.kv_heads,
    feedForwardSize: settings.ffn_size,
  };
}

/** A `config.json` of a new model. */
export interface ShapeFile {
  readonly model: ModelConfig;
  /** Sizes that the file leaves to the run. */
  readonly leavesOut: ReadonlySet<keyof FollowingSizes>;
}

/**
 * Reads a `config.json` of a new model; a vocabulary or a context that it leaves out is taken from `following`.
 * Throws `ModelError` for wrong and missing keys, by name, and `FileError`.
 */
export function readShapeFile(
  path: string,
  { vocabularySize, contextLength }: FollowingSizes,
): ShapeFile {
  const json = readJsonFile(path, CONFIG_BYTE_LIMIT);
  const leavesOut = new Set<keyof FollowingSizes>();
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    return { model: parseModelConfig(json, path), leavesOut };
  }
  const given: Readonly<Record<string, unknown>> = { ...json };
  const lacks = (key: string): boolean => given[key] === undefined || given[key] === null;
  const contextKey = given["model_type"] === "gpt2" ? "n_positions" : "max_position_embeddings";
  if (lacks("vocab_size")) leavesOut.add("vocabularySize");
  if (lacks(contextKey)) leavesOut.add("contextLength");
  const model = parseModelConfig(
    {
      ...given,
      ...(lacks("vocab_size") && { vocab_size: vocabularySize }),
      ...(lacks(contextKey) && { [contextKey]: contextLength }),
    },
    path,
  );
  return { model, leavesOut };
}
