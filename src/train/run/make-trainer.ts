import type { EngineDescription, LoadedPlan } from "../../engine/engine.ts";
import type { Batches } from "../../text/index.ts";
import type { TrainerSettings } from "../config/part-settings.ts";
import { LossScale } from "../step/loss-scale.ts";
import { resolveWarmupSteps } from "../step/schedule.ts";
import { Trainer } from "../step/trainer.ts";
import type { TrainerOptions } from "../step/trainer.ts";

/** Where a run goes on: what its trainer takes from a checkpoint. */
export interface TrainerStart {
  readonly step: number;
  readonly lossScale?: { readonly scale: number; readonly stepCount: number } | undefined;
}

/** What a trainer needs beside a run's settings. */
export interface TrainerParts extends Pick<
  TrainerOptions,
  "control" | "onOverflow" | "group" | "pipeline" | "share"
> {
  readonly loaded: LoadedPlan;
  readonly batches: Batches;
  readonly engine: EngineDescription;
  readonly start: TrainerStart;
}

/** The trainer of a run, at its first step or at a checkpoint's. */
export function makeTrainer(config: TrainerSettings, parts: TrainerParts): Trainer {
  const { engine, start, ...others } = parts;
  return new Trainer(
    {
      ...others,
      schedule: {
        kind: config.lr_scheduler_type,
        learningRate: config.learning_rate,
        minimumLearningRate: config.min_learning_rate,
        warmupSteps: resolveWarmupSteps(config.warmup_steps, config.max_steps),
        maxSteps: config.max_steps,
        decaySteps: (config.lr_decay_steps ?? config.max_steps) - 1,
      },
      accumulationSteps: config.gradient_accumulation_steps,
      muonLearningRate: config.muon_learning_rate ?? config.learning_rate,
      beta1: config.adam_beta1,
      beta2: config.adam_beta2,
      weightDecay: config.weight_decay,
      maxGradientNorm: config.max_grad_norm,
      lossScale: lossScaleOf(config, engine, start),
      sumOrder: config.sum_order,
      ...(config.lora_dropout > 0 &&
        config.method !== "full" && {
          dropout: { share: config.lora_dropout, seed: config.seed },
        }),
    },
    start.step,
  );
}

function lossScaleOf(
  { loss_scale: fixed, scaling }: TrainerSettings,
  { arithmetic }: EngineDescription,
  { lossScale }: TrainerStart,
): LossScale {
  if (fixed > 0) return LossScale.fixed(fixed);
  if (arithmetic !== "fp16" || scaling === "off") return LossScale.fixed(1);
  return LossScale.dynamic(lossScale);
}
