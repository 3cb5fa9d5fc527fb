import type { Activation, CommonConfig, RopeScaling, SlidingWindow } from "./config.ts";
import type { NamedRope } from "./rope.ts";
import { borrowed, linearWeights, matrixWeight, ONES, vectorWeight, ZEROS } from "./weights.ts";
import type { Initialisation, WeightSpec } from "./weights.ts";

/**
 * The decoder that llama began and most families share: RMSNorm, rotary positions, grouped-query attention, a gated
 * feed-forward part. The switches are what they differ in.
 */
export interface DecoderConfig extends CommonConfig {
  readonly ropeTheta: number;
  readonly ropeScaling: RopeScaling;
  /** Of queries, keys and values. */
  readonly attentionBias: boolean;
  /** Of attention's output. */
  readonly outputBias: boolean;
  readonly feedForwardBias: boolean;
  readonly activation: Activation;
  /** RMSNorm over each head's channels of queries and keys, before the rotation. */
  readonly headNorm: boolean;
  /** What is added to the norms' weights, which begin at 1 minus it. */
  readonly normOffset: 0 | 1;
  /** Norms behind attention and the feed-forward part as well, before the residual. */
  readonly normsBehind: boolean;
  /** Multiplies embedded tokens. */
  readonly embeddingScale?: number;
  /** Multiplies scores. */
  readonly scoreScale: number;
  readonly scoreCap?: number;
  readonly logitCap?: number;
  readonly window?: SlidingWindow;
  /** Rotary positions of layers with a sliding window, where they have their own. */
  readonly localRope?: { readonly theta: number; readonly scaling: RopeScaling };
  /** Fresh value and output projections are together this many times the identity. */
  readonly attentionCopy?: number;
}

/** Begins the names of the inputs that only layers with a sliding window read. */
const LOCAL = "local_";

/** What distinguishes one layer's function from another's. */
export interface DecoderLayer {
  readonly rope: NamedRope;
  /** Rows a row sees, itself included. */
  readonly window: number | undefined;
  /** The packed mask that the layer reads. */
  readonly maskName: string;
}

/** The layer that a variant's name means; without one, the model's first. */
export function decoderLayer(config: DecoderConfig, variant: string | undefined): DecoderLayer {
  const { window } = config;
  const kind = variant ?? window?.layerKinds[0] ?? "full";
  const [whole, local] = decoderRopes(config);
  if (kind === "full" || window === undefined)
    return { rope: whole, window: undefined, maskName: "attention_mask" };
  return { rope: local ?? whole, window: window.length, maskName: "sliding_attention_mask" };
}

/** Rotary positions of all layers, and of those with a sliding window where they have their own. */
export function decoderRopes(
  config: Pick<DecoderConfig, "headSize" | "ropeTheta" | "ropeScaling" | "localRope" | "window">,
): readonly [whole: NamedRope, ...local: readonly NamedRope[]] {
  const { headSize, ropeTheta, ropeScaling, localRope } = config;
  const whole: NamedRope = { prefix: "", settings: { headSize, ropeTheta, ropeScaling } };
  if (localRope === undefined || config.window === undefined) return [whole];
  const { theta, scaling } = localRope;
  const settings = { headSize, ropeTheta: theta, ropeScaling: scaling };
  return [whole, { prefix: LOCAL, settings }];
}

export function decoderEmbedWeights(config: DecoderConfig): readonly WeightSpec[] {
  const { vocabularySize, channelCount, initializerRange } = config;
  return [
    matrixWeight("model.", "embed_tokens.weight", [vocabularySize, channelCount], {
      kind: "normal",
      standardDeviation: initializerRange,
    }),
  ];
}

export function decoderBlockWeights(config: DecoderConfig, layer: number): readonly WeightSpec[] {
  const prefix = `model.layers.${layer}.`;
  const { channelCount: C, headSize: D, feedForwardSize: F, initializerRange: deviation } = config;
  const queryChannels = config.headCount * D;
  const keyChannels = config.keyValueHeadCount * D;
  const { attentionBias, outputBias, feedForwardBias } = config;
  const normal: Initialisation = { kind: "normal", standardDeviation: deviation };
  const projection = (
    name: string,
    shape: readonly [number, number],
    bias: boolean,
    initialisation: Initialisation = normal,
  ) => linearWeights(prefix, name, shape, bias ? shape[0] : undefined, initialisation);
  const handedOn: Initialisation =
    config.attentionCopy === undefined
      ? normal
      : { kind: "identity", size: C, scale: Math.sqrt(config.attentionCopy) };
  const norm = (name: string, size = C): WeightSpec =>
    vectorWeight(prefix, `${name}.weight`, size, normStart(config));
  return [
    norm("input_layernorm"),
    ...projection("self_attn.q_proj", [queryChannels, C], attentionBias),
    ...projection("self_attn.k_proj", [keyChannels, C], attentionBias),
    ...projection("self_attn.v_proj", [keyChannels, C], attentionBias, handedOn),
    ...projection("self_attn.o_proj", [C, queryChannels], outputBias, handedOn),
    ...(config.headNorm ? [norm("self_attn.q_norm", D), norm("self_attn.k_norm", D)] : []),
    norm("post_attention_layernorm"),
    ...(config.normsBehind
      ? [norm("pre_feedforward_layernorm"), norm("post_feedforward_layernorm")]
      : []),
    ...projection("mlp.gate_proj", [F, C], feedForwardBias),
    ...projection("mlp.up_proj", [F, C], feedForwardBias),
    ...projection("mlp.down_proj", [C, F], feedForwardBias),
  ];
}

export function decoderHeadWeights(config: DecoderConfig): readonly WeightSpec[] {
  const { vocabularySize, channelCount, initializerRange } = config;
  const table: Initialisation = { kind: "normal", standardDeviation: initializerRange };
  const shape = [vocabularySize, channelCount] as const;
  return [
    vectorWeight("model.", "norm.weight", channelCount, normStart(config)),
    config.tiedHead
      ? borrowed(matrixWeight("model.", "embed_tokens.weight", shape, table), "lm_head_weight")
      : matrixWeight("", "lm_head.weight", shape, table),
  ];
}

function normStart({ normOffset }: DecoderConfig): Initialisation {
  return normOffset === 1 ? ZEROS : ONES;
}
