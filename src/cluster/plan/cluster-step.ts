import type { Link } from "./links.ts";

/** Milliseconds of the parts of a training step on one machine, for one micro-batch where it is of one. */
export interface PartTimes {
  readonly embedForward: number;
  readonly blockForward: number;
  readonly blockBackward: number;
  /** The head with its gradients. */
  readonly head: number;
  readonly embedBackward: number;
  readonly blockUpdate: number;
  readonly embedUpdate: number;
  readonly headUpdate: number;
}

/** Bytes of the parts of a model. */
export interface PartBytes {
  /** Gradients in fp32 of what is trained. */
  readonly blockGradient: number;
  readonly embedGradient: number;
  readonly headGradient: number;
  /** Weights as they are stored, and optimizer state. */
  readonly blockWeights: number;
  readonly blockOptimizer: number;
  readonly endWeights: number;
  readonly endOptimizer: number;
  /** What the backward pass of a block keeps of one micro-batch. */
  readonly blockTaps: number;
  /** Activations and logits of one micro-batch that exist at once. */
  readonly transient: number;
  /** The hidden state of one micro-batch, fp32: what stages hand to each other. */
  readonly hidden: number;
}

export interface ClusterStep {
  readonly blockCount: number;
  readonly times: PartTimes;
  /** Where machines differ: of each, those of a pipeline one after the other. Default: all have `times`. */
  readonly machines?: readonly PartTimes[];
  readonly bytes: PartBytes;
  readonly stageCount: number;
  readonly replicaCount: number;
  readonly isSharded: boolean;
  readonly wire: "fp32" | "fp16";
  /** Micro-batches of an update, of all replicas together. */
  readonly batchCount: number;
  readonly link: Link;
  /** Nanoseconds of the host for each number that is summed: packing, adding, unpacking. */
  readonly hostNsPerNumber: number;
}
