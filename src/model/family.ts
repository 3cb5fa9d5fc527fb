import type { MilFunction } from "../mil/program.ts";
import type { NamedRope } from "./rope.ts";
import type { StageDataType } from "./stage-builder.ts";
import type { WeightSpec } from "./weights.ts";

/** B sequences of S tokens; N = B*S rows. */
export interface BatchSizes {
  readonly batchSize: number;
  readonly sequenceLength: number;
  readonly dataType: StageDataType;
  /** Rows hold several documents: positions and the mask come as inputs. */
  readonly isPacked?: boolean;
  /** Which of the family's blocks is meant (`Family.blockVariants`). Default: the first layer's. */
  readonly variant?: string | undefined;
  /** The block is for learning: an adapter's dropout masks are inputs where it has some. Default false. */
  readonly isLearning?: boolean;
  /** Rows that attend together, to the columns that some of them see. Default: all, to all columns. */
  readonly attentionBlockRows?: number | undefined;
  /** The block as it is without its adapter. Default false. */
  readonly withoutAdapter?: boolean;
}

/** A run of rows that attends to a cache of earlier ones. */
export interface CachedSizes {
  /** Sequences at once, B, each with a cache of its own. Default 1. */
  readonly batchSize?: number;
  /** Rows of a sequence at once, S: 1 while decoding, more while reading a prompt. */
  readonly rowCount: number;
  /** Positions the cache holds. */
  readonly cacheLength: number;
  readonly dataType: StageDataType;
  /** As in `BatchSizes`. */
  readonly variant?: string | undefined;
  /**
   * Earlier rows and these are one: the mask is [B, S, T + S], under the name that packed rows have for it, and `keys`
   * and `values` [B, Hkv, T + S, D] go out. Default false.
   */
  readonly isJoined?: boolean;
}

/** Sizes of a stage over rows: B x S rows of C channels. */
export interface RowSizes {
  readonly rowCount: number;
  readonly dataType: StageDataType;
}

/** Sizes of a head that judges. */
export interface HeadSizes extends RowSizes {
  /** It gives each row's loss, not their sum. Default false. */
  readonly isPerRow?: boolean;
}

/** How a cached stage learns positions: tables of cosines and sines, or position numbers. */
export type PositionKind = "rope" | "learned";

/**
 * One family of models: its weights and its stages as MIL functions. Weights are inputs of the functions,
 * named by `WeightSpec.parameter` and in Hugging Face's layouts.
 */
export interface Family<Config> {
  readonly positions: PositionKind;
  /** Rotary positions that layers of a kind share, each with the beginning of its inputs' names; none if learned. */
  readonly ropes: (config: Config) => readonly NamedRope[];
  /** Names of the blocks that layers have, by layer, where they differ in more than their weights. */
  readonly blockVariants: (config: Config) => readonly (string | undefined)[];
  /** Rows of the token table are multiplied by this on their way into the first block. */
  readonly embeddingScale: (config: Config) => number;
  readonly embedWeights: (config: Config) => readonly WeightSpec[];
  /** Weights of one layer. */
  readonly blockWeights: (config: Config, layer: number) => readonly WeightSpec[];
  readonly headWeights: (config: Config) => readonly WeightSpec[];
  /**
   * What packed blocks share, once a step: documents (and position_ids with rotary positions), int32 [B, S], to
   * attention_mask [B, S, S] (and the tables of packing.ts, [B, S, D] each). Blocks of layers with a sliding window
   * read sliding_attention_mask, those with rotary positions of their own tables with the rope's prefix.
   */
  readonly packing: (config: Config, sizes: BatchSizes) => MilFunction;
  /** tokens int32 [B, S] (and position_ids int32 [B, S] where learned positions are packed) to hidden [N, C]. */
  readonly embed: (config: Config, sizes: BatchSizes) => MilFunction;
  /** hidden [N, C] (and what `packing` gives, where rows are packed) to hidden_out [N, C]. */
  readonly block: (config: Config, sizes: BatchSizes) => MilFunction;
  /** hidden [R, C], targets int32 [R] to loss_sum fp32 [], or to losses fp32 [R]. */
  readonly head: (config: Config, sizes: HeadSizes) => MilFunction;
  /** hidden [R, C], row int32 [1] to logits [1, V] of that row. */
  readonly logits: (config: Config, sizes: RowSizes) => MilFunction;
  /** hidden [R, C] to logits [R, V]. */
  readonly everyLogits: (config: Config, sizes: RowSizes) => MilFunction;
  /** tokens int32 [R] (and position_ids int32 [R] where positions are learned) to hidden [R, C]. */
  readonly cachedEmbed: (config: Config, sizes: RowSizes) => MilFunction;
  /**
   * hidden [B*S, C], key_cache and value_cache [B, Hkv, T, D], mask [T] or, of several sequences, [B, T] (and cosines,
   * signed_sines [B*S, D] with rotary positions) to hidden_out [B*S, C], new_keys and new_values [B, Hkv, S, D].
   * With a sliding window, window_mask [S, T] or [B, S, T] stands in the mask's place.
   */
  readonly cachedBlock: (config: Config, sizes: CachedSizes) => MilFunction;
}
