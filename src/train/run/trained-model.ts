import {
  adaptableModules,
  inFile,
  isAdapterFolder,
  modelOf,
  onlyLastBlocks,
  packedStorages,
  quantized,
  withAdapter,
  withMuon,
  withOrigin,
  withWeights,
} from "../../model/index.ts";
import type { Model, ModelConfig, Origin, Weight } from "../../model/index.ts";
import type { Storage } from "../../plan/storage.ts";
import { TrainError } from "../errors.ts";
import { hasQuantizedBase } from "../config/method-options.ts";
import type { MethodSettings } from "../config/part-settings.ts";

/**
 * The model a run trains: its parameters, where they come from, and what of it is trained. Everything else of the run
 * is handed this one. Throws `ModelError` for modules, layers and groups that the model does not have.
 */
export function trainedModel(
  settings: MethodSettings,
  config: ModelConfig,
  folder?: string,
): Model {
  const whole = modelToTrain(settings, config, folder);
  const model = settings.base_weights === "file" ? baseInFile(whole) : whole;
  return settings.optimizer === "muon" ? withMuon(model) : model;
}

/** Throws `TrainError` for models that need whole matrices in memory. */
function baseInFile(model: Model): Model {
  const { adapter } = model.parameters;
  if (adapter?.method === "dora") {
    throw new TrainError(
      "train.base_weights",
      "dora's lengths are those of whole matrices, which must stand in memory",
      { remedy: "Take --method lora or qlora, or --base-weights memory." },
    );
  }
  return adapter === undefined ? model : inFile(model);
}

function modelToTrain(settings: MethodSettings, config: ModelConfig, folder?: string): Model {
  const { seed, method, trained_layers: layerCount } = settings;
  const origin: Origin = folder === undefined ? { kind: "drawn", seed } : { kind: "file", folder };
  if (folder !== undefined && isAdapterFolder(folder)) {
    throw new TrainError(
      "train.model.adapter",
      `${folder} is an adapter beside its model; training begins from whole models`,
      { remedy: "Make one with anecdote fuse, or go on with its run: --resume." },
    );
  }
  const whole = withOrigin(modelOf(config), origin);
  switch (method) {
    case "full":
      return layerCount === -1 ? whole : onlyLastBlocks(whole, layerCount);
    case "lora":
    case "dora":
    case "qlora":
    case "dpo":
      return adapted(
        hasQuantizedBase(settings) ? quantizedBase(whole, settings, folder) : whole,
        settings,
      );
  }
}

function adapted(base: Model, settings: MethodSettings): Model {
  const { seed, lora_rank: rank, lora_alpha, rslora } = settings;
  const { target_modules, trained_layers } = settings;
  const { blocks } = base.parameters;
  const first = trained_layers === -1 ? 0 : blocks.length - trained_layers;
  if (first < 0 || first >= blocks.length) {
    throw new TrainError(
      "train.config.layers",
      `the last ${trained_layers} layers are to have an adapter, the model has ${blocks.length}`,
      { remedy: `Give --trained-layers 1 to ${blocks.length}, or -1 for all.` },
    );
  }
  const names = target_modules
    .split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "");
  const model = withAdapter(base, {
    method: adapterMethod(settings),
    rank,
    alpha: lora_alpha ?? 2 * rank,
    isRankStabilized: rslora,
    dropout: settings.lora_dropout,
    modules: adaptableModules(base, names),
    layers: [...blocks.keys()].slice(first),
  });
  return withOrigin(model, { kind: "drawn", seed }, ({ trainable }) => trainable);
}

function adapterMethod({ method, dpo_adapter }: MethodSettings): "lora" | "dora" {
  if (method === "dpo") return dpo_adapter;
  return method === "dora" ? "dora" : "lora";
}

/**
 * Matrices of the blocks in MLX's affine form, or as the model's file has them where it is quantized to as many bits; norms,
 * tables and the head stay as they are.
 */
function quantizedBase(
  whole: Model,
  { base_bits, base_group_size }: MethodSettings,
  folder: string | undefined,
): Model {
  const kind = base_bits === "4" ? "int4" : "int8";
  const own: ReadonlyMap<string, Storage> =
    folder === undefined ? new Map<string, Storage>() : packedStorages(folder, whole.config);
  const matrices = new Set(
    whole.parameters.blocks.flatMap(({ weights }) =>
      weights.filter(({ decays }) => decays).map(({ name }) => name),
    ),
  );
  const isKept = ({ name }: Weight): boolean => matrices.has(name) && own.get(name)?.kind === kind;
  const kept = withWeights(whole, (weight) => {
    const storage = own.get(weight.name);
    return isKept(weight) && storage !== undefined ? { ...weight, storage } : weight;
  });
  if (kept.parameters.weights.every((weight) => !matrices.has(weight.name) || isKept(weight)))
    return kept;
  return quantized(
    kept,
    {
      ...{ kind, groupSize: base_group_size, scaleType: "fp16" },
      ...{ zeroPoint: 0, hasBiases: true },
    },
    (weight) => matrices.has(weight.name) && !isKept(weight),
  );
}
