import { join } from "node:path";
import type { BufferView } from "../../engine/engine.ts";
import { adapterNames, adapterPart } from "../../model/adapters/adapter.ts";
import { weightViews } from "../../engine/weight-views.ts";
import { staticShape } from "../../mil/types.ts";
import {
  deriveNorms,
  fillWeights,
  loadWeights,
  openSafetensors,
  saveTrainedWeights,
  trainableWeights,
  writeGenerationConfig,
  writeModelConfig,
  writeSafetensors,
} from "../../model/index.ts";
import type {
  GenerationConfig,
  Model,
  ModelConfig,
  Parameters,
  Weight,
} from "../../model/index.ts";
import { saveTokenizer } from "../../text/index.ts";
import type { DescribedTokenizer } from "../../text/index.ts";
import { writeWholeFile } from "../../util/atomic-file.ts";
import { TrainError } from "../errors.ts";
import { TRAINER_STATE } from "../../runs/state.ts";
import { momentNames } from "../step/step-plan.ts";
import { saveLosses } from "./wire-state.ts";
import type { KeptLosses } from "./wire-state.ts";
import { withFileSource } from "../../util/byte-source.ts";

const OPTIMIZER_FILE = "optimizer.safetensors";

/** What a run's checkpoints hold besides numbers; plain data, so that another thread can have it. */
export interface RunFiles {
  readonly model: ModelConfig;
  readonly parameters: Parameters;
  readonly tokenizer: Pick<DescribedTokenizer, "json" | "config" | "companions"> | undefined;
  /** How the model that the run began from wants to be sampled. */
  readonly generation?: GenerationConfig | undefined;
}

/** Gives a persistent buffer's memory by name. */
export type ViewOf = (name: string) => BufferView;

/** The plan's buffers that a checkpoint stores: weights that are trained, and their moments. */
export function runBuffers(parameters: Parameters): readonly string[] {
  return trainableWeights(parameters).flatMap((weight) => [weight.name, ...keptBeside(weight)]);
}

/**
 * Buffers of a trained weight's shape that go on with it: its moments, and beside dora's lengths those that the corrected
 * matrix has, whose last bits depend on where they were computed.
 */
function keptBeside(weight: Weight): readonly string[] {
  const place = adapterPart(weight);
  return place?.part === "magnitude"
    ? [...momentNames(weight), adapterNames(place.module).inverseNorm]
    : momentNames(weight);
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

/**
 * Writers of a checkpoint's files: a Hugging Face model folder plus the training state. Where weights are frozen the
 * folder has the trained ones and says where the others come from.
 */
export function runWriters(
  files: RunFiles,
  viewOf: ViewOf,
  state: unknown,
  losses?: KeptLosses,
): readonly ((folder: string) => void)[] {
  const { parameters } = files;
  const view = floats(viewOf);
  return [
    (folder) => {
      writeModelConfig(folder, files.model);
      writeGenerationConfig(folder, {
        endTokenIds: files.model.endTokenIds,
        ...files.generation,
      });
      if (files.tokenizer !== undefined) saveTokenizer(folder, files.tokenizer);
    },
    (folder) => saveTrainedWeights(folder, parameters, view),
    (folder) => saveOptimizer(folder, parameters, viewOf),
    ...(losses === undefined ? [] : [(folder: string) => saveLosses(folder, losses)]),
    (folder) => writeWholeFile(join(folder, TRAINER_STATE), `${JSON.stringify(state, null, 2)}\n`),
  ];
}

/** What is restored, and with how many threads. Default: all weights. */
export interface RestoreOptions {
  readonly threads?: number | undefined;
  readonly weights?: readonly Weight[];
}

/**
 * Fills a training plan's weights, each from its origin; what is trained, and its moments, from a checkpoint where one
 * is given. Throws `ModelError` where a folder and the model do not fit, `TrainError` where a moment is missing or of
 * another shape.
 */
export function restoreWeights(
  model: Model,
  checkpoint: string | undefined,
  viewOf: ViewOf,
  { threads, weights = model.parameters.weights }: RestoreOptions = {},
): void {
  const view = weightViews(viewOf);
  if (checkpoint === undefined) {
    fillWeights(model, view, weights, threads);
    return;
  }
  const trained = weights.filter(({ trainable }) => trainable);
  const others = weights.filter(({ trainable }) => !trainable);
  fillWeights(model, view, others);
  loadWeights(checkpoint, model, view, trained);
  const unread = new Set(others);
  deriveNorms(model, view, (weight) => unread.has(weight));
  loadOptimizer(checkpoint, trained, viewOf);
}

function saveOptimizer(folder: string, parameters: Parameters, viewOf: ViewOf): void {
  writeSafetensors(
    join(folder, OPTIMIZER_FILE),
    trainableWeights(parameters).flatMap((weight) =>
      keptBeside(weight).map((buffer) => ({
        name: buffer,
        dataType: storedType(buffer, viewOf(buffer)),
        shape: staticShape(weight.type),
        chunks: () => [bytesOf(viewOf(buffer))],
      })),
    ),
  );
}

/** Numbers that a checkpoint holds: fp32, or moments as bf16 patterns. */
export type KeptArray = Float32Array | Uint16Array;

/** Throws `TrainError` for a buffer that holds neither. */
export function keptArray(buffer: string, view: BufferView): KeptArray {
  if (view instanceof Float32Array || view instanceof Uint16Array) return view;
  throw new TrainError("train.buffer", `buffer ${buffer} holds neither fp32 nor bf16 numbers`);
}

function storedType(buffer: string, view: BufferView): "F32" | "BF16" {
  return keptArray(buffer, view) instanceof Float32Array ? "F32" : "BF16";
}

function bytesOf(view: BufferView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

/** Throws `TrainError` where a moment is missing, or of another size or type than the plan has. */
function loadOptimizer(folder: string, weights: readonly Weight[], viewOf: ViewOf): void {
  withFileSource(join(folder, OPTIMIZER_FILE), (source) => {
    const file = openSafetensors(source);
    for (const weight of weights) {
      for (const buffer of keptBeside(weight)) {
        const target = viewOf(buffer);
        const entry = file.entries.get(buffer);
        const wanted = storedType(buffer, target);
        if (
          entry === undefined ||
          entry.dataType !== wanted ||
          entry.byteLength !== target.byteLength
        ) {
          throw new TrainError(
            "train.optimizer",
            `${source.name}: ${buffer} ${entry === undefined ? "is missing" : `has ${entry.byteLength} bytes of ${entry.dataType}, not ${target.byteLength} of ${wanted}`}`,
            entry !== undefined && entry.dataType !== wanted
              ? { remedy: "Go on with the --moment-dtype that the run was begun with." }
              : {},
          );
        }
        source.readInto(entry.offset, bytesOf(target));
      }
    }
  });
}
