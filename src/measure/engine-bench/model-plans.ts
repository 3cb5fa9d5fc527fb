import { differentiate } from "../../grad/differentiate.ts";
import type { LoadedPlan } from "../../engine/engine.ts";
import type { MilFunction } from "../../mil/program.ts";
import { elementCount, staticShape, tensorType } from "../../mil/types.ts";
import type { TensorType } from "../../mil/types.ts";
import { initialiseWeights, modelOf, modelPreset, parameterCount } from "../../model/index.ts";
import type { Model, WeightSpec } from "../../model/index.ts";
import { optimize } from "../../passes/pipeline.ts";
import { PlanBuilder } from "../../plan/builder.ts";
import { buildTrainingPlan } from "../../train/index.ts";
import type { BenchCase, BuildOptions, CasePlan } from "./case.ts";
import { writeFloats } from "./case-plan.ts";
import { MeasureError } from "../errors.ts";
import { fixedNormals } from "./fixed-numbers.ts";

const PRESET = "stories110M";
const LAYER_SEQUENCE = 512;
const STEP_SEQUENCE = 256;
const SEED = 1;

/** Where a layer's weight gradients go: they stay on the engine, or the host gets them as fp32, as a trainer does. */
type Gradients = "stay" | "home";

function layerModel(): Model {
  return modelOf({ ...modelPreset(PRESET), layerCount: 1 });
}

/** Forward and backward of one block [S, C], weights as inputs. */
function layerPlan(gradients: Gradients, { readsResults }: BuildOptions): CasePlan {
  const model = layerModel();
  const [stage] = model.parameters.blocks;
  if (stage === undefined) throw new MeasureError("measure.case", `${PRESET} has no blocks`);
  const block = model.functions.block({
    batchSize: 1,
    sequenceLength: LAYER_SEQUENCE,
    dataType: "fp32",
  });
  const { forward, backward, taps } = differentiate(block, {
    withRespectTo: ["hidden", ...stage.weights.map(({ parameter }) => parameter)],
    heldInputs: ["hidden"],
    recompute: "none",
  });
  const hidden = tensorType("fp32", [LAYER_SEQUENCE, model.config.channelCount]);
  const builder = new PlanBuilder(`layer, gradients ${gradients}`);
  builder.program("forward", optimize(forward));
  builder.program("backward", optimize(backward));
  builder.buffer("hidden", hidden, "weight");
  builder.buffer("d_hidden_out", hidden, "weight");
  builder.buffer("hidden_out", hidden, "activation");
  builder.buffer("d_hidden", hidden, "output");
  for (const { name, type } of stage.weights) builder.buffer(name, type, "weight");
  for (const tap of taps) builder.buffer(`tap:${tap}`, outputType(forward, tap), "tap");
  const weights = Object.fromEntries(stage.weights.map(({ parameter, name }) => [parameter, name]));
  const tapBuffers = Object.fromEntries(taps.map((tap) => [tap, `tap:${tap}`]));
  const gradientNames = (section: string, isHome: boolean): Record<string, string> => {
    const entries = stage.weights.map(({ parameter, name, type }) => {
      const buffer = `${section}:d_${name}`;
      builder.buffer(buffer, type, isHome ? "gradient" : "scratch");
      return [`d_${parameter}`, buffer] as const;
    });
    return Object.fromEntries(entries);
  };
  builder.buffer("timed_d_hidden", hidden, readsResults ? "output" : "activation");
  const outputs: string[] = ["d_hidden"];
  for (const section of ["time", "check"] as const) {
    const isHome = section === "check" || gradients === "home" || readsResults;
    const named = gradientNames(section, isHome);
    if (section === "check") outputs.push(...Object.values(named));
    builder.dispatch(
      section,
      "forward",
      "forward",
      { hidden: "hidden", ...weights },
      { hidden_out: "hidden_out", ...tapBuffers },
    );
    const available = { hidden: "hidden", d_hidden_out: "d_hidden_out", ...weights, ...tapBuffers };
    const needed = new Set(backward.inputs.map(({ name }) => name));
    builder.dispatch(
      section,
      "backward",
      "backward",
      Object.fromEntries(Object.entries(available).filter(([name]) => needed.has(name))),
      { d_hidden: section === "check" ? "d_hidden" : "timed_d_hidden", ...named },
    );
  }
  return {
    plan: builder.finish(),
    time: ["time"],
    check: ["check"],
    outputs,
    fill: (loaded) => {
      fillWeights(loaded, stage.weights);
      const count = elementCount(staticShape(hidden));
      writeFloats(loaded, "hidden", fixedNormals(count, 3, 0.5));
      writeFloats(loaded, "d_hidden_out", fixedNormals(count, 4, 0.5));
    },
  };
}

function outputType(fn: MilFunction, name: string): TensorType {
  const type = fn.outputs.find((output) => output.name === name)?.type;
  if (type?.kind === "tensor") return type;
  throw new MeasureError("measure.case", `"${fn.name}" has no tensor output "${name}"`);
}

function fillWeights(loaded: LoadedPlan, weights: readonly WeightSpec[]): void {
  initialiseWeights(weights, SEED, (name) => {
    const view = loaded.view(name);
    if (view instanceof Float32Array) return view;
    throw new MeasureError("measure.case", `weight "${name}" is not fp32`);
  });
}

/** A whole update of the model with random tokens: forward, backward, norm of the gradients, AdamW. */
function stepPlan(): CasePlan {
  const model = modelOf(modelPreset(PRESET));
  const { plan } = buildTrainingPlan({
    model,
    batchSize: 1,
    sequenceLength: STEP_SEQUENCE,
    accumulation: false,
  });
  const sections = ["forward_backward", "gradient_norm", "update"];
  return {
    plan,
    time: sections,
    check: sections,
    outputs: ["loss_sum", "gradient_square_sum"],
    fill: (loaded) => {
      fillWeights(loaded, model.parameters.weights);
      for (const name of ["tokens", "targets"]) {
        const tokens = loaded.view(name);
        for (let i = 0; i < tokens.length; i++) tokens[i] = (i * 37) % model.config.vocabularySize;
      }
      const scalars = {
        loss_scale: 1 / STEP_SEQUENCE,
        gradient_scale: 1,
        learning_rate: 1e-4,
        bias_correction1: 0.1,
        bias_correction2: 0.01,
      };
      for (const [name, value] of Object.entries(scalars)) loaded.view(name)[0] = value;
    },
  };
}

/** Products of a block over S tokens: forward 2 FLOP a weight and token and 4 S C for attention; backward twice that. */
function layerFlops(model: Model, sequence: number): number {
  const [block] = model.parameters.blocks;
  let weights = 0;
  for (const { type } of block?.weights ?? []) weights += elementCount(staticShape(type));
  const attention = 4 * sequence * sequence * model.config.channelCount;
  return 3 * (2 * weights * sequence + attention);
}

function modelCases(): readonly BenchCase[] {
  const layer = layerModel();
  const whole = modelOf(modelPreset(PRESET));
  const parameters = parameterCount(whole.parameters.weights);
  const { channelCount, layerCount, vocabularySize } = whole.config;
  const layerWeights = parameterCount(layer.parameters.weights) - vocabularySize * channelCount;
  const common = { suite: "layer", hostCopies: false, calls: "one" } as const;
  const layerCase = {
    ...common,
    dispatches: 2,
    flops: layerFlops(layer, LAYER_SEQUENCE),
    weightBytes: 2 * layerWeights,
    group: "layer",
    memoryBytes: 40 * layerWeights + 400e6,
  } as const;
  const size = `${channelCount} x ${LAYER_SEQUENCE}`;
  return [
    {
      ...layerCase,
      id: `layer.block-${channelCount}x${LAYER_SEQUENCE}`,
      title: `one layer ${size} as Anecdote writes it, forward and backward, gradients stay on the engine`,
      paper: "one layer 768 x 512, forward and backward",
      isQuick: true,
      build: (options) => layerPlan("stay", options),
    },
    {
      ...layerCase,
      id: `layer.block-${channelCount}x${LAYER_SEQUENCE}.gradients-home`,
      title: `one layer ${size} as Anecdote writes it, forward and backward, gradients become fp32 on the host`,
      isQuick: false,
      build: (options) => layerPlan("home", options),
    },
    {
      ...common,
      id: `layer.${PRESET}-step`,
      title: `${PRESET} as Anecdote writes it, one training step of ${STEP_SEQUENCE} tokens`,
      paper: "Stories110M training step",
      dispatches: 2 * layerCount + 1,
      flops:
        layerCount * layerFlops(layer, STEP_SEQUENCE) +
        6 * STEP_SEQUENCE * vocabularySize * channelCount,
      weightBytes: 2 * parameters,
      group: "step",
      isQuick: false,
      memoryBytes: 30 * parameters,
      build: stepPlan,
    },
  ];
}

/** Cases made of the model's own functions. */
export const MODEL_CASES: readonly BenchCase[] = modelCases();
