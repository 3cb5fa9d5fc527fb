import { tensorType } from "../mil/types.ts";
import type { TensorType } from "../mil/types.ts";

/** How a fresh weight is filled. */
export type Initialisation =
  | { readonly kind: "normal"; readonly standardDeviation: number }
  | { readonly kind: "zeros" }
  | { readonly kind: "ones" };

/** Root mean square of a fresh weight. */
export function initialRms(initialisation: Initialisation): number {
  switch (initialisation.kind) {
    case "normal":
      return initialisation.standardDeviation;
    case "zeros":
      return 0;
    case "ones":
      return 1;
  }
}

/** One weight of a stage. */
export interface WeightSpec {
  /** Hugging Face's name, also the name of the plan's buffer: `model.layers.0.self_attn.q_proj.weight`. */
  readonly name: string;
  /** The stage function's input: `self_attn_q_proj_weight`, the same in every layer. */
  readonly parameter: string;
  /** fp32, in Hugging Face's layout. */
  readonly type: TensorType;
  readonly initialisation: Initialisation;
  /** Weight decay applies: false for norms and biases. */
  readonly decay: boolean;
  /** The weight belongs to another stage; this one only reads it (a tied head). */
  readonly borrowed: boolean;
}

export type StageKind = "embed" | "block" | "head";

/** A stage with one layer's weights: what a plan dispatches. */
export interface StageInstance {
  readonly kind: StageKind;
  /** Group of its buffers: "embed", "block.3", "head". */
  readonly group: string;
  readonly weights: readonly WeightSpec[];
}

/** A function input's name from the part of a weight's name that does not change with the layer. */
export function parameterName(localName: string): string {
  return localName.replaceAll(".", "_");
}

export const ONES: Initialisation = { kind: "ones" };
export const ZEROS: Initialisation = { kind: "zeros" };

/** A weight `<prefix><localName>`. Decay applies to what is drawn at random: matrices and tables. */
export function weightSpec(
  prefix: string,
  localName: string,
  shape: readonly number[],
  initialisation: Initialisation,
  borrowed = false,
): WeightSpec {
  return {
    name: `${prefix}${localName}`,
    parameter: parameterName(localName),
    type: tensorType("fp32", shape),
    initialisation,
    decay: initialisation.kind === "normal",
    borrowed,
  };
}

/** A linear layer's matrix, its shape as stored, and its bias. */
export function linearWeights(
  prefix: string,
  layer: string,
  shape: readonly [number, number],
  biasLength: number | undefined,
  standardDeviation: number,
): readonly WeightSpec[] {
  return [
    weightSpec(prefix, `${layer}.weight`, shape, { kind: "normal", standardDeviation }),
    ...(biasLength === undefined ? [] : [weightSpec(prefix, `${layer}.bias`, [biasLength], ZEROS)]),
  ];
}
