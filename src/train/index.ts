export {
  TRAIN_DEFAULTS,
  TRAIN_OPTIONS,
  readTrainLayer,
  resolveTrainConfig,
} from "./config/config.ts";
export type {
  ResolvedTrainConfig,
  TrainConfig,
  TrainLayer,
  TrainOptions,
  TrainSettings,
} from "./config/config.ts";
export { fileLayer } from "./config/file-layer.ts";
export { FOREIGN_NAMES } from "./config/foreign-names.ts";
export { SIZE_KEYS } from "./config/size-keys.ts";
export { resolveRun } from "./config/run-config.ts";
export type { ResolvedRun } from "./config/run-config.ts";
export { PUBLISHED_MICRO_BATCHES, estimateStep, estimateToken } from "./costs/estimate-model.ts";
export type { EstimateModelOptions, StepEstimate, TokenEstimate } from "./costs/estimate-model.ts";
export { planCluster, priceMachines, whatIsLost, whatLimits } from "./costs/cluster-plan.ts";
export type {
  ClusterParts,
  ClusterPlan,
  ClusterPlanOptions,
  LayoutKind,
  MachineGroup,
  PlannedLayout,
} from "./costs/cluster-plan.ts";
export { memoryFit } from "./costs/memory-fit.ts";
export type { MachineMemory, MemoryFit } from "./costs/memory-fit.ts";
export { EnergyBlock } from "./costs/energy-block.ts";
export type { PowerState } from "./costs/energy-block.ts";
export { TrainError } from "./errors.ts";
export { ControlBlock } from "./run/control.ts";
export { DEFAULT_PRESET, PRESETS, presetOf } from "./config/presets.ts";
export type { Preset } from "./config/presets.ts";
export { evaluateModel } from "./evaluate/evaluate.ts";
export type { EvaluateOptions, EvaluationReport, RowReading } from "./evaluate/evaluate.ts";
export { checkData } from "./evaluate/check-data.ts";
export type { CheckDataOptions, DataCheckReport } from "./evaluate/check-data.ts";
export { heldOutOf } from "./evaluate/held-out.ts";
export type { HeldOut } from "./evaluate/held-out.ts";
export { measureLayers } from "./costs/measured-layers.ts";
export type { StepFromLayers } from "./costs/measured-layers.ts";
export { measureStep } from "./costs/measured-step.ts";
export type { MeasuredStep } from "./costs/measured-step.ts";
export type { StepPrediction } from "./costs/prediction.ts";
export { plannedTraining } from "./run/planned-model.ts";
export { plannedModel, prepareData } from "./run/prepare.ts";
export { trainedModel } from "./run/trained-model.ts";
export type { PreparedData, Report } from "./run/prepare.ts";
export { expectedRuns, planOf } from "./run/plan-of.ts";
export { runTraining } from "./run/run.ts";
export type { RunContext, TrainProgress } from "./run/run.ts";
export { SCHEDULES, learningRateAt, resolveWarmupSteps } from "./step/schedule.ts";
export type { Schedule, ScheduleKind } from "./step/schedule.ts";
export { ModelHandle, openModel } from "./run/open-model.ts";
export type { JudgeOptions, WriteOptions } from "./run/open-model.ts";
export { followInWorker } from "./run/member-session.ts";
export { trainInWorker } from "./run/session.ts";
export type { SessionOptions } from "./run/session.ts";
export { TrainRun, train } from "./run/train.ts";
export type { TrainRunOptions } from "./run/train.ts";
export { Trainer } from "./step/trainer.ts";
export type {
  EvaluationResult,
  TrainerOptions,
  UpdateResult,
  UpdateShare,
} from "./step/trainer.ts";
export { buildEvaluationPlan, buildTrainingPlan } from "./step/step-plan.ts";
export type { TrainingPlan, TrainingPlanOptions } from "./step/step-plan.ts";
export { checkpointProblem, listCheckpoints, verifyCheckpoint } from "../runs/checkpoint.ts";
export { EventLog, logInterruption, readEvents } from "../runs/event-log.ts";
export { trainEventSchema } from "../runs/events.ts";
export type { TrainEvent, TrainEventKind } from "../runs/events.ts";
export { resolveModelFolder, resolveTokenizer } from "../runs/model-path.ts";
export { RunLock } from "../runs/run-lock.ts";
export { newestWholeCheckpoint } from "../runs/whole-checkpoints.ts";
export type { FoundCheckpoint } from "../runs/whole-checkpoints.ts";
export type { MethodSettings } from "./config/part-settings.ts";
export type { PricedParts } from "./costs/part-prices.ts";
export type { RunFiles } from "./run/checkpoint-contents.ts";
export type { FreezeResult, PublishedState } from "./run/control.ts";
export type {
  DataSettings,
  HeldOutSettings,
  ModelSettings,
  PlanSettings,
  PreparationSettings,
  PricedSettings,
  RunCounts,
  StepSettings,
  TimedSettings,
} from "./config/part-settings.ts";
export type { AdamwSettings } from "./step/adamw.ts";
export type { Recompute } from "./step/block-derivatives.ts";
export type { Dropout } from "./step/dropout.ts";
export type { LossScale, LossScaleState } from "./step/loss-scale.ts";
export type { MuonSettings } from "./step/muon.ts";
export type { Pipeline, PipelineHooks } from "./step/pipeline.ts";
export type { PreferenceSettings } from "./step/preference.ts";
export type { RewardTotals, Rewards } from "./step/reward-sums.ts";
export type { StepPart, UpdateShard } from "./step/step-part.ts";
export type { TrainingGroup } from "./step/training-group.ts";
export { chooseBase, describeBase, isOnNeuralEngine } from "./run/frozen-base.ts";
export { describePlacements, placementsJson, pricePlacements } from "./costs/placement-prices.ts";
export type { PlacementPrice, PlacementPrices } from "./costs/placement-prices.ts";
export type { WireLosses } from "./step/wire-losses.ts";
