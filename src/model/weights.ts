import { tensorType } from "../mil/types.ts";
import type { TensorType } from "../mil/types.ts";

/** How a fresh weight is filled. */
export type Initialisation =
  | { readonly kind: "normal"; readonly standardDeviation: number }
  /** `scale` times the identity of `size` channels. */
  | { readonly kind: "identity"; readonly size: number; readonly scale: number }
  | { readonly kind: "zeros" }
  | { readonly kind: "ones" };

/** Root mean square of a fresh weight. */
export function initialRms(initialisation: Initialisation): number {
  switch (initialisation.kind) {
    case "normal":
      return initialisation.standardDeviation;
    case "identity":
      return initialisation.scale / Math.sqrt(initialisation.size);
    case "zeros":
      return 0;
    case "ones":
      return 1;
  }
}

/** One weight of a stage, as its family describes it. */
export interface WeightSpec {
  /** Hugging Face's name, also the name of the plan's buffer: `model.layers.0.self_attn.q_proj.weight`. */
  readonly name: string;
  /** The stage function's input: `self_attn_q_proj_weight`, the same in every layer. */
  readonly parameter: string;
  /** fp32, in Hugging Face's layout. */
  readonly type: TensorType;
  readonly initialisation: Initialisation;
  /** Weight decay applies: to matrices and tables, not to norms and biases. */
  readonly decays: boolean;
  /** The weight belongs to another stage; this one only reads it (a tied head). */
  readonly borrowed: boolean;
}

/** Parts of a model that are compiled once each. */
export type StageKind = "embed" | "block" | "head";

/** A function input's name from the part of a weight's name that does not change with the layer. */
export function parameterName(localName: string): string {
  return localName.replaceAll(".", "_");
}

export const ONES: Initialisation = { kind: "ones" };
export const ZEROS: Initialisation = { kind: "zeros" };

interface WeightFacts {
  readonly prefix: string;
  /** The part of the name that does not change with the layer. */
  readonly localName: string;
  readonly shape: readonly number[];
  readonly initialisation: Initialisation;
  readonly decays: boolean;
}

function weightSpec({ prefix, localName, shape, initialisation, decays }: WeightFacts): WeightSpec {
  return {
    name: `${prefix}${localName}`,
    parameter: parameterName(localName),
    type: tensorType("fp32", shape),
    initialisation,
    decays,
    borrowed: false,
  };
}

/** A matrix or table `<prefix><localName>`, which decays. */
export function matrixWeight(
  prefix: string,
  localName: string,
  shape: readonly [number, number],
  initialisation: Initialisation,
): WeightSpec {
  return weightSpec({ prefix, localName, shape, initialisation, decays: true });
}

/** A norm's weight or a bias `<prefix><localName>`, which does not decay. */
export function vectorWeight(
  prefix: string,
  localName: string,
  length: number,
  initialisation: Initialisation,
): WeightSpec {
  return weightSpec({ prefix, localName, shape: [length], initialisation, decays: false });
}

/** A weight of another stage, read here under another parameter: a tied head's table. */
export function borrowed(weight: WeightSpec, parameter: string): WeightSpec {
  return { ...weight, parameter, borrowed: true };
}

/** A linear layer's matrix, its shape as stored, and its bias. */
export function linearWeights(
  prefix: string,
  layer: string,
  shape: readonly [number, number],
  biasLength: number | undefined,
  initialisation: Initialisation,
): readonly WeightSpec[] {
  return [
    matrixWeight(prefix, `${layer}.weight`, shape, initialisation),
    ...(biasLength === undefined ? [] : [vectorWeight(prefix, `${layer}.bias`, biasLength, ZEROS)]),
  ];
}
