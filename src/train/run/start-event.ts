import type { EngineDescription } from "../../engine/engine.ts";
import { parameterCount } from "../../model/index.ts";
import type { Parameters } from "../../model/index.ts";
import { EVENTS_VERSION } from "../../runs/events.ts";
import type { TrainEvent } from "../../runs/events.ts";
import type { PreparedData } from "./prepare.ts";
import { shapeSource } from "../config/model-shape.ts";
import type { ShapeSettings } from "../config/part-settings.ts";

type StartEvent = Extract<TrainEvent, { kind: "start" }>;

/** The settings that a `start` event tells of. */
interface StartSettings extends ShapeSettings {
  readonly max_steps: number;
  readonly output_dir: string;
  readonly max_seq_length: number;
}

/** What a `start` event tells of a run before its plan: model, data and engine. */
export function startFields(
  config: StartSettings,
  data: PreparedData,
  { weights }: Parameters,
  engine: EngineDescription,
): Omit<StartEvent, "t" | "sequence" | "step" | "tokens_per_step" | "plan_bytes"> {
  const { model } = data;
  const source = shapeSource(config);
  return {
    kind: "start",
    version: EVENTS_VERSION,
    max_steps: config.max_steps,
    run: config.output_dir,
    ...(source.kind === "preset" && {
      preset: source.name,
      preset_by_default: config.preset === undefined,
    }),
    ...(source.kind === "folder" && { model: data.modelFolder ?? source.path }),
    ...(source.kind === "file" && { model: source.path }),
    family: model.family,
    layers: model.layerCount,
    channels: model.channelCount,
    vocabulary: model.vocabularySize,
    ...(data.tokenizerName !== undefined && { tokenizer: data.tokenizerName }),
    context_length: config.max_seq_length,
    engine: engine.name,
    device: engine.device,
    runtime: engine.runtime,
    threads: engine.threads,
    ...(engine.rowSums !== undefined && { row_sums: engine.rowSums }),
    ...(engine.profile !== undefined && { profile: engine.profile }),
    parameters: parameterCount(weights),
    train_tokens: data.train.tokenCount,
    eval_tokens: data.validation?.tokenCount ?? 0,
  };
}
