import { checkedLayer, resolveOptions } from "../../util/options.ts";
import type { OptionLayer, OptionValues, ResolvedOptions } from "../../util/options.ts";
import { TrainError } from "../errors.ts";
import { CLUSTER_DEFAULTS, CLUSTER_OPTIONS } from "./cluster-options.ts";
import { DATA_DEFAULTS, DATA_OPTIONS } from "./data-options.ts";
import { FOREIGN_NAMES } from "./foreign-names.ts";
import { MACHINE_DEFAULTS, MACHINE_OPTIONS } from "./machine-options.ts";
import { METHOD_DEFAULTS, METHOD_OPTIONS } from "./method-options.ts";
import { MODEL_DEFAULTS, MODEL_OPTIONS } from "./model-options.ts";
import { OPTIMIZATION_DEFAULTS, OPTIMIZATION_OPTIONS } from "./optimization-options.ts";
import { REPORTING_DEFAULTS, REPORTING_OPTIONS } from "./reporting-options.ts";

/** Every setting of a training run. One record makes the flag, the YAML key, the help and the check. */
export const TRAIN_OPTIONS = {
  ...MODEL_OPTIONS,
  ...DATA_OPTIONS,
  ...OPTIMIZATION_OPTIONS,
  ...METHOD_OPTIONS,
  ...REPORTING_OPTIONS,
  ...MACHINE_OPTIONS,
  ...CLUSTER_OPTIONS,
} as const;

/** Values of all settings by name, none of which need be given. */
export type TrainOptions = OptionValues<typeof TRAIN_OPTIONS>;
export type ResolvedTrainOptions = ResolvedOptions<typeof TRAIN_OPTIONS>;

/** The values a run needs and that have a default. */
export const TRAIN_DEFAULTS = {
  ...MODEL_DEFAULTS,
  ...DATA_DEFAULTS,
  ...OPTIMIZATION_DEFAULTS,
  ...METHOD_DEFAULTS,
  ...REPORTING_DEFAULTS,
  ...MACHINE_DEFAULTS,
  ...CLUSTER_DEFAULTS,
} as const;

/** Keys that may be absent once everything is merged: those without a default, which the lowest rate finds by itself. */
type OptionalKeys = Exclude<keyof TrainOptions, keyof typeof TRAIN_DEFAULTS | "min_learning_rate">;

/** A run's settings, complete. */
export type TrainConfig = {
  readonly [Key in Exclude<keyof TrainOptions, OptionalKeys>]-?: Exclude<
    TrainOptions[Key],
    undefined
  >;
} & { readonly [Key in OptionalKeys]?: Exclude<TrainOptions[Key], undefined> | undefined };

/** Settings of a run by their own names; all may be left out. The same names are keys of a file and, with dashes, flags. */
export type TrainSettings = { readonly [Key in keyof TrainOptions]?: TrainOptions[Key] };

/** Settings from one place: a preset, a file, the command line, a program. */
export interface TrainLayer {
  /** Told in messages: "run.yaml", "command line". */
  readonly origin: string;
  readonly values: TrainSettings;
}

/** All settings of a run, and where each came from. */
export interface ResolvedTrainConfig {
  readonly config: TrainConfig;
  /** By name: "default", "preset", "model", a layer's origin, or how the value follows from another. */
  readonly origins: ReadonlyMap<string, string>;
}

/**
 * Settings as a file or a command line spells them, under their own names. Throws `OptionError` for an unknown name,
 * for one setting under two spellings, and for a value out of bounds.
 */
export function readTrainLayer(layer: OptionLayer): TrainLayer {
  return {
    origin: layer.origin,
    values: checkedLayer(TRAIN_OPTIONS, layer, FOREIGN_NAMES),
  };
}

/** Origin of a preset's settings. */
export const PRESET_ORIGIN = "preset";

/**
 * Merges defaults, the preset's settings and layers (later ones win). `modelDefaults`: what the model of the run says
 * of itself, over defaults and preset.
 * Throws `OptionError` for unknown names and bad values, `TrainError` for settings that contradict each other.
 */
export function resolveTrainConfig(
  presetSettings: TrainSettings,
  layers: readonly TrainLayer[],
  modelDefaults: TrainSettings = {},
): ResolvedTrainConfig {
  const { values, origins: found } = resolveOptions(
    TRAIN_OPTIONS,
    [
      { origin: "default", values: TRAIN_DEFAULTS },
      { origin: PRESET_ORIGIN, values: presetSettings },
      { origin: "model", values: modelDefaults },
      ...layers,
    ],
    FOREIGN_NAMES,
  );
  const origins = new Map(found);
  const config = { ...values } as TrainConfig;
  const minimum = minimumRate(config, origins, presetSettings);
  if (minimum !== undefined) origins.set("min_learning_rate", minimum.origin);
  const whole = minimum === undefined ? config : { ...config, min_learning_rate: minimum.rate };
  if (whole.min_learning_rate > whole.learning_rate) {
    throw new TrainError(
      "train.config.learning_rate",
      `min_learning_rate ${whole.min_learning_rate} is above learning_rate ${whole.learning_rate}`,
      { remedy: "Give --min-learning-rate too." },
    );
  }
  if (whole.warmup_steps >= 1 && !Number.isInteger(whole.warmup_steps)) {
    throw new TrainError(
      "train.config.warmup_steps",
      `warmup_steps ${whole.warmup_steps} is neither a whole number of steps nor a share below 1`,
    );
  }
  checkMoments(whole);
  return { config: whole, origins };
}

/** Throws `TrainError` where moments cannot stand in the type that is asked for. */
function checkMoments({ moment_dtype: type, optimizer, engine }: TrainConfig): void {
  if (type === "fp32") return;
  const refuse = (problem: string, remedy: string): never => {
    throw new TrainError("train.config.moment_dtype", `moment_dtype ${type}: ${problem}`, {
      remedy,
    });
  };
  if (optimizer === "muon") {
    refuse(
      "muon's running mean of gradients stands in fp32",
      "Leave --moment-dtype out, or take --optimizer adamw.",
    );
  }
  if (engine === "gpu") {
    refuse(
      "the engine gpu holds numbers of 16 bits as 32, so that nothing would be saved",
      "Leave --moment-dtype out, or take --engine cpu, ane or sim:m4.",
    );
  }
}

/** The learning rate at the last step where nobody gave it for this peak: a tenth, or the preset's proportion. */
function minimumRate(
  config: TrainConfig,
  origins: ReadonlyMap<string, string>,
  { learning_rate: presetRate, min_learning_rate: presetMinimum }: TrainSettings,
): { readonly rate: number; readonly origin: string } | undefined {
  const { learning_rate: rate } = config;
  const origin = origins.get("min_learning_rate");
  if (origin === undefined) return { rate: rate / 10, origin: "a tenth of learning_rate" };
  if (origin !== PRESET_ORIGIN || presetRate === undefined || presetMinimum === undefined) {
    return undefined;
  }
  if (rate >= presetRate) return undefined;
  return {
    rate: (presetMinimum * rate) / presetRate,
    origin: "the preset's, smaller as learning_rate is",
  };
}
