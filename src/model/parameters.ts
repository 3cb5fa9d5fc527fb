import { elementCount, staticShape } from "../mil/types.ts";
import { FP32 } from "../plan/storage.ts";
import type { Storage } from "../plan/storage.ts";
import { didYouMean } from "../util/nearest.ts";
import type { PlacedAdapter } from "./adapters/adapter.ts";
import { ModelError } from "./errors.ts";
import type { StageKind, WeightSpec } from "./weights.ts";

/** Where a weight's numbers come from when a plan is filled. */
export type Origin =
  /** Drawn by the weight's `initialisation`. */
  | { readonly kind: "drawn"; readonly seed: number }
  /** A model folder in Hugging Face's layout. */
  | { readonly kind: "file"; readonly folder: string }
  /** They stand in the buffers of another loaded plan already. */
  | { readonly kind: "shared" };

/** One weight of a model, with everything that plans, checkpoints and files want to know of it. */
export interface Weight extends WeightSpec {
  readonly storage: Storage;
  /** Has a gradient, optimizer state and a place in checkpoints. */
  readonly trainable: boolean;
  /** What an update does with it. Default: AdamW. */
  readonly updateRule?: "muon";
  readonly origin: Origin;
  /** "file": it is frozen, has no memory, and is read from its origin before each use. Default: memory. */
  readonly residence?: "file";
}

/** A stage with one layer's weights: what a plan dispatches. */
export interface StageInstance {
  readonly kind: StageKind;
  /** Group of its buffers: "embed", "block.3", "head". */
  readonly group: string;
  readonly weights: readonly Weight[];
  /** Of a block: which of the family's it is, where layers differ in more than their weights. */
  readonly variant?: string;
}

/**
 * A model's weights by stage, made once (`modelOf`), changed by the plain functions of transforms.ts and
 * handed on to plans, checkpoints, estimates and files. Plain data: a worker can have it.
 */
export interface Parameters {
  /** In forward order: embed, block.0 ... block.<L-1>, head. */
  readonly stages: readonly StageInstance[];
  readonly embed: StageInstance;
  readonly blocks: readonly StageInstance[];
  readonly head: StageInstance;
  /** Every weight once, in the order of the stages; a tied head's table belongs to `embed`. */
  readonly weights: readonly Weight[];
  /** Whose matrices stand among the blocks' weights. */
  readonly adapter?: PlacedAdapter;
}

export interface StageWeights {
  readonly embed: readonly WeightSpec[];
  /** By layer. */
  readonly blocks: readonly (readonly WeightSpec[])[];
  readonly head: readonly WeightSpec[];
  /** By layer. */
  readonly variants?: readonly (string | undefined)[];
}

/** Fresh parameters: fp32, all of them trained, drawn at random. */
export function freshParameters({ embed, blocks, head, variants }: StageWeights): Parameters {
  const origin: Origin = { kind: "drawn", seed: 0 };
  const whole = (spec: WeightSpec): Weight => ({ ...spec, storage: FP32, trainable: true, origin });
  return parametersOf(
    { kind: "embed", group: "embed", weights: embed.map(whole) },
    blocks.map((weights, layer) => ({
      kind: "block",
      group: `block.${layer}`,
      weights: weights.map(whole),
      ...variantOf(variants?.[layer]),
    })),
    { kind: "head", group: "head", weights: head.map(whole) },
  );
}

function variantOf(variant: string | undefined): Pick<StageInstance, "variant"> {
  return variant === undefined ? {} : { variant };
}

/** Parameters of stages; adapters add weights to them. */
export function parametersOf(
  embed: StageInstance,
  blocks: readonly StageInstance[],
  head: StageInstance,
  adapter?: PlacedAdapter,
): Parameters {
  const stages = [embed, ...blocks, head];
  const weights = stages.flatMap((stage) => stage.weights.filter(({ borrowed }) => !borrowed));
  return Object.freeze({
    ...{ stages, embed, blocks, head, weights },
    ...(adapter !== undefined && { adapter }),
  });
}

/** Numbers of all weights, or of some. */
export function parameterCount(weights: readonly WeightSpec[]): number {
  let count = 0;
  for (const { type } of weights) count += elementCount(staticShape(type));
  return count;
}

/** The weights that are trained, each once. */
export function trainableWeights({ weights }: Parameters): readonly Weight[] {
  return weights.filter(({ trainable }) => trainable);
}

/** The weight of that name. Throws `ModelError` for one the model does not have. */
export function weightNamed({ weights }: Parameters, name: string): Weight {
  const weight = weights.find((candidate) => candidate.name === name);
  if (weight !== undefined) return weight;
  throw new ModelError(
    "model.weight.unknown",
    `the model has no weight "${name}".${didYouMean(
      name,
      weights.map((candidate) => candidate.name),
    )}`,
  );
}
