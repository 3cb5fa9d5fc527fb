import type { StageInstance } from "../../model/parameters.ts";
import { tensorType } from "../../mil/types.ts";
import type { BindingInput, OutputBindingInput, PlanBuilder } from "../../plan/builder.ts";
import { ADAMW_SCALARS, adamwNames, adamwProgram } from "./adamw.ts";
import type { AdamwSettings } from "./adamw.ts";
import { sumOfSquares } from "./gradient-functions.ts";
import { updatedWeights } from "./step-part.ts";
import type { UpdatedWeight, UpdateShard } from "./step-part.ts";

/** Names of a weight's companions in the plan. */
export const gradientName = (weight: string): string => `gradient:${weight}`;
export const firstMomentName = (weight: string): string => `m:${weight}`;
export const secondMomentName = (weight: string): string => `v:${weight}`;

/** What is updated, and how. */
export interface UpdatePlan {
  /** In forward order. */
  readonly stages: readonly StageInstance[];
  readonly shard: UpdateShard | undefined;
  /** Weights whose gradients another process counts into the norm. */
  readonly copies: ReadonlySet<string>;
  readonly adamw: AdamwSettings;
}

/** Adds the sections `gradient_norm` and `update`, stage by stage. */
export function addUpdate(builder: PlanBuilder, plan: UpdatePlan): void {
  addGradientNorm(builder, plan);
  addAdamw(builder, plan);
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
        weights.map(({ weight }) => weight),
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

function addAdamw(builder: PlanBuilder, plan: UpdatePlan): void {
  for (const stage of plan.stages) {
    const weights = updatedWeights(stage, plan.shard);
    if (weights.length === 0) continue;
    const program = `adamw_${stage.kind}${variantOf(stage, plan, stageWeights)}`;
    if (!builder.hasProgram(program)) {
      const { function: fn, kernel } = adamwProgram(
        program,
        weights.map(({ weight }) => weight),
        plan.adamw,
      );
      builder.program(program, fn, kernel);
    }
    const inputs: Record<string, BindingInput> = {};
    const outputs: Record<string, OutputBindingInput> = {};
    for (const name of ADAMW_SCALARS) inputs[name] = scalar(builder, name, "input");
    for (const { weight, offset } of weights) {
      const names = adamwNames(weight);
      const place = { buffer: weight.name, offset };
      const m = builder.buffer(firstMomentName(weight.name), weight.type, "optimizer", stage.group);
      const v = builder.buffer(
        secondMomentName(weight.name),
        weight.type,
        "optimizer",
        stage.group,
      );
      inputs[names.weight] = place;
      inputs[names.gradient] = { buffer: gradientName(weight.name), offset };
      inputs[names.m] = m;
      inputs[names.v] = v;
      outputs[`new_${names.weight}`] = { ...place, mode: "write" };
      outputs[`new_${names.m}`] = m;
      outputs[`new_${names.v}`] = v;
    }
    builder.dispatch("update", `update ${stage.group}`, program, inputs, outputs);
  }
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
      .map(({ weight: { parameter, decays } }) => `${parameter} ${decays}`)
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
