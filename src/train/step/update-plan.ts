import type { PlacedAdapter } from "../../model/adapters/adapter.ts";
import { directedMatrices, normsFunction } from "../../model/adapters/norms.ts";
import type { StageInstance, Weight } from "../../model/parameters.ts";
import type { PlanWeights } from "../../model/plan-weights.ts";
import { tensorType } from "../../mil/types.ts";
import type { TensorType } from "../../mil/types.ts";
import type { WeightSpec } from "../../model/weights.ts";
import type { BindingInput, OutputBindingInput, PlanBuilder } from "../../plan/builder.ts";
import type { MomentType } from "../../plan/plan.ts";
import { ADAMW_SCALARS, adamwNames, adamwProgram, momentTensor } from "./adamw.ts";
import type { AdamwSettings } from "./adamw.ts";
import { TrainError } from "../errors.ts";
import { MUON_SCALARS, muonNames, muonProgram } from "./muon.ts";
import type { MuonSettings } from "./muon.ts";
import { sumOfSquares } from "./gradient-functions.ts";
import { updatedWeights } from "./step-part.ts";
import type { UpdatedWeight, UpdateShard } from "./step-part.ts";

/** Names of a weight's companions in the plan. */
export const gradientName = (weight: string): string => `gradient:${weight}`;
export const firstMomentName = (weight: string): string => `m:${weight}`;
export const secondMomentName = (weight: string): string => `v:${weight}`;

/** Buffers of what an optimizer keeps of a weight's gradients: Muon keeps their running mean alone. */
export function momentNames({
  name,
  updateRule,
}: Pick<Weight, "name" | "updateRule">): readonly string[] {
  return updateRule === "muon"
    ? [firstMomentName(name)]
    : [firstMomentName(name), secondMomentName(name)];
}

/** What is updated, and how. */
export interface UpdatePlan {
  /** In forward order. */
  readonly stages: readonly StageInstance[];
  readonly shard: UpdateShard | undefined;
  /** Weights whose gradients another process counts into the norm. */
  readonly copies: ReadonlySet<string>;
  readonly adamw: AdamwSettings;
  readonly muon: MuonSettings;
  /** The adapter that is trained, if any, and the model's weights as the plan has them. */
  readonly adapter: PlacedAdapter | undefined;
  readonly weights: PlanWeights;
  readonly gradientType: (weight: WeightSpec) => TensorType;
}

/** Adds the sections `gradient_norm` and `update`, stage by stage. */
export function addUpdate(builder: PlanBuilder, plan: UpdatePlan): void {
  addGradientNorm(builder, plan);
  addUpdates(builder, plan);
}

/** In the order in which the backward pass ends the stages' gradients. */
function addGradientNorm(builder: PlanBuilder, plan: UpdatePlan): void {
  let first = true;
  for (const stage of plan.stages.toReversed()) {
    const weights = normedWeights(stage, plan);
    if (weights.length === 0) continue;
    const name = `gradient_norm_${stage.kind}${variantOf(stage, plan, normedWeights)}`;
    if (!builder.hasProgram(name)) {
      const fn = sumOfSquares(
        name,
        weights.map(({ weight }) => ({ ...weight, type: plan.gradientType(weight) })),
      );
      builder.program(name, fn, { kind: "sum_of_squares" });
    }
    builder.dispatch(
      "gradient_norm",
      `gradient norm ${stage.group}`,
      name,
      Object.fromEntries(
        weights.map(({ weight, offset }) => [
          weight.parameter,
          { buffer: gradientName(weight.name), offset },
        ]),
      ),
      {
        sum: {
          buffer: scalar(builder, "gradient_square_sum", "output"),
          mode: first ? "write" : "accumulate",
        },
      },
    );
    first = false;
  }
}

function addUpdates(builder: PlanBuilder, plan: UpdatePlan): void {
  for (const stage of plan.stages) {
    const weights = updatedWeights(stage, plan.shard);
    const suffix = `${stage.kind}${variantOf(stage, plan, stageWeights)}`;
    const byMuon = weights.filter(({ weight }) => weight.updateRule === "muon");
    const byAdamw = weights.filter(({ weight }) => weight.updateRule === undefined);
    if (byAdamw.length > 0) {
      const name = `adamw_${suffix}`;
      if (!builder.hasProgram(name)) {
        const specs = byAdamw.map(({ weight }) => weight);
        const { function: fn, kernel } = adamwProgram(name, specs, plan.adamw, plan.gradientType);
        builder.program(name, fn, kernel);
      }
      const rows = byAdamw.map((row) => ({ ...row, names: adamwNames(row.weight) }));
      dispatchUpdate(builder, stage.group, name, ADAMW_SCALARS, rows, plan.adamw.momentType);
    }
    if (byMuon.length > 0) {
      const name = `muon_${suffix}`;
      if (!builder.hasProgram(name)) {
        const specs = wholeMatrices(byMuon, plan);
        const { function: fn, kernel } = muonProgram(name, specs, plan.muon);
        builder.program(name, fn, kernel);
      }
      const rows = byMuon.map((row) => ({ ...row, names: muonNames(row.weight) }));
      dispatchUpdate(builder, stage.group, name, MUON_SCALARS, rows);
    }
    if (plan.adapter !== undefined) addNorms(builder, stage, suffix, plan, plan.adapter);
  }
}

/** The lengths of matrices whose corrections have changed. */
function addNorms(
  builder: PlanBuilder,
  stage: StageInstance,
  suffix: string,
  { shard, weights }: UpdatePlan,
  adapter: PlacedAdapter,
): void {
  const matrices = directedMatrices(stage);
  if (matrices.length === 0) return;
  if (shard !== undefined) {
    throw new TrainError(
      "train.dora.parts",
      "dora needs whole matrices, and here each process updates its part of every weight",
      { remedy: "Take --method lora, or let every process keep the optimizer's whole state." },
    );
  }
  const name = `adapter_norms_${suffix}`;
  const read = matrices.flatMap(({ matrix, a, b }) => [matrix, a, b]);
  const names = read.map(({ parameter }) => parameter);
  if (!builder.hasProgram(name)) {
    const kernel = { kind: "adapter_norms", weights: names } as const;
    builder.program(name, normsFunction(name, matrices, adapter), kernel);
  }
  builder.dispatch(
    "update",
    `lengths ${stage.group}`,
    name,
    weights.inputs(stage, { section: "update", use: "norms", wanted: new Set(names) }),
    Object.fromEntries(
      matrices.map(({ inverseNorm }) => [`new_${inverseNorm.parameter}`, inverseNorm.name]),
    ),
  );
}

/** Throws `TrainError` where a process has parts of them: a part says nothing of a matrix's singular values. */
function wholeMatrices(
  rows: readonly UpdatedWeight[],
  { shard }: UpdatePlan,
): readonly UpdatedWeight["weight"][] {
  if (shard === undefined) return rows.map(({ weight }) => weight);
  throw new TrainError(
    "train.optimizer.parts",
    "muon needs whole matrices, and here each process updates its part of every weight",
    { remedy: "Take --optimizer adamw, or let every process keep the optimizer's whole state." },
  );
}

/** A weight's inputs in a program that updates it. */
interface UpdateNames {
  readonly weight: string;
  readonly gradient: string;
  readonly m: string;
  readonly v?: string;
}

/** Weights and moments in place. */
function dispatchUpdate(
  builder: PlanBuilder,
  group: string,
  program: string,
  scalars: readonly string[],
  rows: readonly (UpdatedWeight & { readonly names: UpdateNames })[],
  momentType?: MomentType,
): void {
  const inputs: Record<string, BindingInput> = {};
  const outputs: Record<string, OutputBindingInput> = {};
  for (const name of scalars) inputs[name] = scalar(builder, name, "input");
  for (const { weight, offset, names } of rows) {
    const place = { buffer: weight.name, offset };
    inputs[names.weight] = place;
    inputs[names.gradient] = { buffer: gradientName(weight.name), offset };
    outputs[`new_${names.weight}`] = { ...place, mode: "write" };
    const moments = momentNames(weight);
    for (const [index, name] of [names.m, names.v].entries()) {
      const buffer = moments[index];
      if (name === undefined || buffer === undefined) continue;
      builder.buffer(buffer, momentTensor(weight.type, momentType), "optimizer", group);
      inputs[name] = buffer;
      outputs[`new_${name}`] = buffer;
    }
  }
  const label = program.startsWith("muon_") ? `update ${group} matrices` : `update ${group}`;
  builder.dispatch("update", label, program, inputs, outputs);
}

function stageWeights(stage: StageInstance, { shard }: UpdatePlan): readonly UpdatedWeight[] {
  return updatedWeights(stage, shard);
}

function normedWeights(stage: StageInstance, plan: UpdatePlan): readonly UpdatedWeight[] {
  return stageWeights(stage, plan).filter(({ weight }) => !plan.copies.has(weight.name));
}

/** Stages of a kind whose trained weights differ have programs of their own: a suffix for their names. */
function variantOf(
  stage: StageInstance,
  plan: UpdatePlan,
  weightsOf: (stage: StageInstance, plan: UpdatePlan) => readonly UpdatedWeight[],
): string {
  const key = (other: StageInstance): string =>
    weightsOf(other, plan)
      .map(
        ({ weight: { parameter, decays, updateRule } }) => `${parameter} ${decays} ${updateRule}`,
      )
      .join();
  const kinds = new Set(
    plan.stages.flatMap((other) =>
      other.kind === stage.kind && weightsOf(other, plan).length > 0 ? [key(other)] : [],
    ),
  );
  const number = [...kinds].indexOf(key(stage));
  return number === 0 ? "" : `_${number + 1}`;
}

function scalar(builder: PlanBuilder, name: string, role: "input" | "output"): string {
  return builder.hasBuffer(name) ? name : builder.buffer(name, tensorType("fp32", []), role);
}
