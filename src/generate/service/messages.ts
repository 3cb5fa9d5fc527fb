import type { EngineSettings } from "../../engine/create.ts";
import type { AdapterSource } from "../../model/index.ts";
import type { ChatMessage, ChatTool } from "../../text/index.ts";
import type { ConstraintRequest } from "../constraint/constraint-compiler.ts";
import type { SamplingOptions } from "../sampling.ts";
import type { WeightFormat } from "../weight-format.ts";
import type { StopReason } from "../writing.ts";

/** A model beside the served one: the same with adapters. */
export interface ServedAdapter {
  readonly name: string;
  readonly sources: readonly AdapterSource[];
}

/** What a text service serves, and how. */
export interface ServiceSettings extends EngineSettings {
  readonly folder: string;
  readonly adapters: readonly ServedAdapter[];
  readonly engine?: string | undefined;
  /** How matrices and tables stand in memory, those of adapters excepted. Default: as the folder says. */
  readonly weights?: WeightFormat | undefined;
  /** Texts that are written at once. */
  readonly maximumTexts: number;
  /** Bytes of caches that are kept of finished texts. */
  readonly prefixCacheBytes: number;
  /** Pieces of texts wait so long for others to leave with, in milliseconds; a text's first one does not. Default 10. */
  readonly streamIntervalMs?: number | undefined;
}

/** What is continued. */
export type ServicePrompt =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "tokens"; readonly tokens: readonly number[] }
  | {
      readonly kind: "chat";
      readonly messages: readonly ChatMessage[];
      readonly tools: readonly ChatTool[];
      /** Further variables of the template. */
      readonly variables: Readonly<Record<string, unknown>>;
    };

/** Texts that are asked for. Crosses threads: plain data only. */
export interface TextRequest {
  readonly prompt: ServicePrompt;
  /** Name of the adapter, absent for the model alone. */
  readonly adapter?: string;
  /** Texts of the same prompt. */
  readonly count: number;
  /** Most tokens of each; absent: to the end of the context. */
  readonly maxTokens?: number;
  /** Of the first text; the others count on from it. */
  readonly seed: number;
  /** Where absent, as the model's folder says; where that says nothing the model's own distribution, temperature 1. */
  readonly sampling: Partial<SamplingOptions>;
  readonly stop: readonly string[];
  readonly topLogprobs?: number;
  readonly promptLogprobs?: number;
  readonly frequencyPenalty?: number;
  readonly presencePenalty?: number;
  readonly logitBias?: ReadonlyMap<number, number>;
  readonly ignoresEnds?: boolean;
  /** Nobody waits for pieces of its texts but the first. */
  readonly isWhole?: boolean;
  readonly constraint?: ConstraintRequest;
}

/** A token as clients see it. */
export interface TokenText {
  /** Its text; `bytes:\xe2\x82` where it is not whole characters, the spelling of a special token. */
  readonly text: string;
  /** Bytes of its text; null where they depend on what stands beside it. */
  readonly bytes: readonly number[] | null;
}

export interface TokenLogprob extends TokenText {
  readonly logprob: number;
}

/** A token with its score and the likeliest ones in its place. */
export interface TextToken extends TokenText {
  /** UTF-16 units of the text before it; the prompt's where it is of the prompt. */
  readonly offset: number;
  /** Nothing for the first token of a prompt. */
  readonly logprob: number | null;
  readonly top: readonly TokenLogprob[];
}

/** What became certain of one of a request's texts. */
export interface TextPiece {
  readonly choice: number;
  readonly text: string;
  readonly tokens: readonly TextToken[];
  /** From the text's last piece to this one, in milliseconds, as they were written; absent for its first. */
  readonly sinceMs?: number;
}

/** How one of a request's texts ended. */
export interface TextEnd {
  readonly text: string;
  readonly tokenCount: number;
  readonly stopReason: StopReason;
}

/** A request that is begun. */
export interface TextBegin {
  readonly promptTokenCount: number;
  /** The prompt as text, special tokens included. */
  readonly promptText: string;
}

export interface TextResult extends TextBegin {
  readonly texts: readonly TextEnd[];
  /** Of the prompt's tokens, those that stood in a cache. */
  readonly reusedTokenCount: number;
  /** The prompt's tokens, where they were to be scored. */
  readonly promptTokens?: readonly TextToken[];
}

/** What a service is, once it is ready. */
export interface ServiceFacts {
  readonly contextLength: number;
  readonly vocabularySize: number;
  readonly engine: string;
  readonly device: string;
  /** The model's chat template; absent where it has none. */
  readonly chatTemplate?: string;
  /** Sizes of batches and caches that were compiled ahead, as `8x256`. */
  readonly prepared: readonly string[];
  /** Sizes that are run one text at a time. */
  readonly left: readonly string[];
}

/** Counts of a service since it began. */
export interface ServiceCounts {
  readonly running: number;
  readonly waiting: number;
}

export type ToWorker =
  | { readonly kind: "write"; readonly id: number; readonly request: TextRequest }
  | { readonly kind: "abort"; readonly id: number }
  | { readonly kind: "close" };

export type FromWorker =
  | { readonly kind: "progress"; readonly text: string }
  | { readonly kind: "ready"; readonly facts: ServiceFacts }
  | { readonly kind: "begun"; readonly id: number; readonly begin: TextBegin }
  | {
      readonly kind: "pieces";
      readonly pieces: readonly { readonly id: number; readonly piece: TextPiece }[];
      readonly counts: ServiceCounts;
    }
  | {
      readonly kind: "ended";
      readonly id: number;
      readonly result: TextResult;
      readonly counts: ServiceCounts;
    }
  | {
      readonly kind: "failed";
      /** Absent: the service itself failed. */
      readonly id?: number;
      readonly code: string | undefined;
      readonly message: string;
      /** Whether what was asked for cannot be had, rather than that something broke. */
      readonly isRefused: boolean;
      readonly counts?: ServiceCounts;
    };
