import { join } from "node:path";
import type { BufferView } from "../../engine/engine.ts";
import { staticShape } from "../../mil/types.ts";
import {
  initialiseWeights,
  loadWeights,
  modelOf,
  modelWeights,
  openSafetensors,
  saveWeights,
  writeGenerationConfig,
  writeModelConfig,
  writeSafetensors,
} from "../../model/index.ts";
import type { Model, ModelConfig } from "../../model/index.ts";
import { saveTokenizer } from "../../text/index.ts";
import type { DescribedTokenizer } from "../../text/index.ts";
import { writeWholeFile } from "../../util/atomic-file.ts";
import { openFileSource } from "../../util/byte-source.ts";
import { TrainError } from "../errors.ts";
import { TRAINER_STATE } from "../../runs/state.ts";
import { firstMomentName, secondMomentName } from "../step/step-plan.ts";

const OPTIMIZER_FILE = "optimizer.safetensors";

/** What a run's checkpoints hold besides numbers; plain data, so that another thread can have it. */
export interface RunFiles {
  readonly model: ModelConfig;
  readonly tokenizer: Pick<DescribedTokenizer, "json" | "config"> | undefined;
}

/** Gives a persistent buffer's memory by name. */
export type ViewOf = (name: string) => BufferView;

/** The plan's buffers that a checkpoint stores: weights and both moments. */
export function runBuffers(config: ModelConfig): readonly string[] {
  return modelWeights(modelOf(config)).flatMap(({ name }) => [
    name,
    firstMomentName(name),
    secondMomentName(name),
  ]);
}

function floats(viewOf: ViewOf): (name: string) => Float32Array {
  return (name) => {
    const view = viewOf(name);
    if (!(view instanceof Float32Array)) {
      throw new TrainError("train.buffer", `buffer ${name} does not hold fp32 numbers`);
    }
    return view;
  };
}

/** Writers of a checkpoint's files: a Hugging Face model folder plus the training state. */
export function runWriters(
  files: RunFiles,
  viewOf: ViewOf,
  state: unknown,
): readonly ((folder: string) => void)[] {
  const model = modelOf(files.model);
  const view = floats(viewOf);
  return [
    (folder) => {
      writeModelConfig(folder, files.model);
      writeGenerationConfig(folder, { endTokenIds: files.model.endTokenIds });
      if (files.tokenizer !== undefined) saveTokenizer(folder, files.tokenizer);
    },
    (folder) => saveWeights(folder, model, view),
    (folder) => saveOptimizer(folder, model, view),
    (folder) => writeWholeFile(join(folder, TRAINER_STATE), `${JSON.stringify(state, null, 2)}\n`),
  ];
}

export function initializeWeights(model: Model, seed: number, viewOf: ViewOf): void {
  initialiseWeights(modelWeights(model), seed, floats(viewOf));
}

/** Fills the weights from a model folder. Throws `ModelError` where folder and model do not fit. */
export function loadModel(folder: string, model: Model, viewOf: ViewOf): void {
  loadWeights(folder, model, floats(viewOf));
}

function saveOptimizer(folder: string, model: Model, viewOf: (name: string) => Float32Array): void {
  writeSafetensors(
    join(folder, OPTIMIZER_FILE),
    modelWeights(model).flatMap(({ name, type }) =>
      [firstMomentName(name), secondMomentName(name)].map((buffer) => ({
        name: buffer,
        dataType: "F32" as const,
        shape: staticShape(type),
        chunks: () => [bytesOf(viewOf(buffer))],
      })),
    ),
  );
}

function bytesOf(view: Float32Array): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

/** Fills both moments from a checkpoint. Throws `TrainError` where one is missing or of another shape. */
export function loadOptimizer(folder: string, model: Model, viewOf: ViewOf): void {
  const source = openFileSource(join(folder, OPTIMIZER_FILE));
  try {
    const file = openSafetensors(source);
    const view = floats(viewOf);
    for (const { name } of modelWeights(model)) {
      for (const buffer of [firstMomentName(name), secondMomentName(name)]) {
        const target = view(buffer);
        const entry = file.entries.get(buffer);
        if (
          entry === undefined ||
          entry.dataType !== "F32" ||
          entry.byteLength !== target.byteLength
        ) {
          throw new TrainError(
            "train.optimizer",
            `${source.name}: ${buffer} ${entry === undefined ? "is missing" : `has ${entry.byteLength} bytes of ${entry.dataType}, not ${target.byteLength} of F32`}`,
          );
        }
        source.readInto(entry.offset, bytesOf(target));
      }
    }
  } finally {
    source.close();
  }
}
