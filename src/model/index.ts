export type { Adapter, PlacedAdapter } from "./adapters/adapter.ts";
export { adapterScale } from "./adapters/adapter.ts";
export { ADAPTER_LAYOUTS, isAdapterFolder, readAdapter } from "./adapters/adapter-files.ts";
export type { AdapterLayout, AdapterMatrices, StoredAdapter } from "./adapters/adapter-files.ts";
export { fusedWeights } from "./adapters/fuse.ts";
export type { FusedWeights } from "./adapters/fuse.ts";
export { adaptableModules, withAdapter } from "./adapters/with-adapter.ts";
export { FAMILY_NAMES } from "./config.ts";
export type {
  CommonConfig,
  FamilyName,
  GemmaConfig,
  Gpt2Config,
  LayerKind,
  LlamaConfig,
  MistralConfig,
  ModelConfig,
  Qwen2Config,
  Qwen3Config,
  RopeScaling,
  SlidingWindow,
} from "./config.ts";
export {
  modelConfigJson,
  parseModelConfig,
  readJsonFile,
  writeModelConfig,
} from "./config-json.ts";
export { cachedContextLength, cachedContextReason, hasDynamicTurns } from "./context-length.ts";
export { IGNORED_TARGET } from "./cross-entropy.ts";
export { deriveNorms } from "./adapters/norms.ts";
export { packedStorages } from "./packed-storages.ts";
export { openFileWeights } from "./file-numbers.ts";
export type { FileWeights } from "./file-numbers.ts";
export { checkWeightFiles, fillWeights, loadWeights } from "./fill-weights.ts";
export { ModelError } from "./errors.ts";
export type { BatchSizes, CachedSizes, HeadSizes, PositionKind, RowSizes } from "./family.ts";
export type { StoredFloat } from "./float-conversion.ts";
export { readGenerationConfig, writeGenerationConfig } from "./generation-config.ts";
export type { GenerationConfig } from "./generation-config.ts";
export { initialiseWeight, initialiseWeights } from "./initialise.ts";
export { modelOf } from "./model.ts";
export type { Model, StageFunctions } from "./model.ts";
export { holdsAdapter, modelOfFolder, openModel, refillAdapter } from "./open-model.ts";
export type { AdapterSource, OpenModel } from "./open-model.ts";
export { parameterCount, trainableWeights, weightNamed } from "./parameters.ts";
export type { Origin, Parameters, StageInstance, Weight } from "./parameters.ts";
export { isModelPreset, MODEL_PRESETS, modelPreset } from "./presets.ts";
export type { ModelPresetName } from "./presets.ts";
export { readModelConfig } from "./read-config.ts";
export { isModelFile, modelLayout } from "./model-files.ts";
export type { ModelLayout } from "./model-files.ts";
export { ropeTables } from "./rope.ts";
export type { NamedRope, RopeRows, RopeSettings, RopeTables } from "./rope.ts";
export { openSafetensors, SAFETENSORS_BYTES, writeSafetensors } from "./safetensors.ts";
export type {
  SafetensorsEntry,
  SafetensorsFile,
  SafetensorsOutput,
  SafetensorsType,
} from "./safetensors.ts";
export type { StageDataType } from "./stage-builder.ts";
export { saveTrainedWeights } from "./trained-weights.ts";
export {
  frozen,
  onlyLastBlocks,
  inFile,
  quantized,
  withMuon,
  withOrigin,
  withWeights,
} from "./transforms.ts";
export type { WeightChoice } from "./transforms.ts";
export { hasWeights, saveWeights } from "./weight-files.ts";
export type { LoadedWeights, SaveWeightsOptions } from "./weight-files.ts";
export { biasesName, PlanWeights, scalesName } from "./plan-weights.ts";
export { WeightMemory } from "./weight-memory.ts";
export type { WeightView } from "./weight-memory.ts";
export { wholeForward } from "./whole-forward.ts";
export { cacheNames, openForward } from "./open-forward.ts";
export type { OpenForwardSizes } from "./open-forward.ts";
export { initialRms } from "./weights.ts";
export type { Initialisation, StageKind, WeightSpec } from "./weights.ts";
export type { WeightUse } from "./plan-weights.ts";
export type { NumbersOf } from "./whole-forward.ts";
