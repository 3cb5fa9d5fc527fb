import type { GenerationConfig } from "../model/index.ts";
import type { Tokenizer } from "../text/index.ts";
import { Random } from "../util/random.ts";
import type { ContextOverflow } from "./context-overflow.ts";
import { GREEDY, checkSampling, sampleToken } from "./sampling.ts";
import type { SamplingOptions } from "./sampling.ts";
import { StopWatcher } from "./stop-watcher.ts";

/** How text is written: how much, how tokens are drawn, where it ends. */
export interface GenerateOptions extends Partial<SamplingOptions> {
  readonly maxTokens: number;
  readonly seed?: number;
  /** Generation ends where one of these appears; the text ends before it. */
  readonly stop?: readonly string[];
  /** What follows where the model's context is full. Default stop. */
  readonly contextOverflow?: ContextOverflow;
  /** Told what a user should know of the prompt. */
  readonly onNote?: (message: string) => void;
  /** Hears the text as it is written, whole characters only. */
  readonly onText?: (piece: string) => void;
  /** Aborting rejects with the signal's reason; others that are written at the same time go on. */
  readonly signal?: AbortSignal;
}

/** Why writing ended. */
export type StopReason = "end of text" | "stop string" | "max tokens" | "end of context";

/** What was written, and how fast. */
export interface GeneratedText {
  /** Without the prompt. */
  readonly text: string;
  readonly tokenCount: number;
  readonly promptTokenCount: number;
  /** Of the prompt's tokens, those that stood in a cache already. */
  readonly reusedTokenCount: number;
  /** Of this text alone, from when it was asked for; others may have been written at the same time. */
  readonly tokensPerSecond: number;
  readonly stopReason: StopReason;
}

export interface WritingParts {
  readonly tokenizer: Tokenizer;
  /** The prompt. */
  readonly tokens: readonly number[];
  /** Tokens after which a text ends. */
  readonly ends: ReadonlySet<number>;
  readonly contextLength: number;
  /** Whether the text goes on where the context is full. */
  readonly overflows: boolean;
  /** How the model wants to be sampled, where the options do not say. */
  readonly sampling: Partial<SamplingOptions>;
  readonly options: GenerateOptions;
}

/** A text that is being written, apart from the model: what is drawn, shown, and when it ends. */
export class Writing {
  /** The prompt and what was drawn, ends of text excepted. */
  readonly tokens: number[];
  /** Most tokens that are drawn. */
  readonly limit: number;
  readonly #sampling: SamplingOptions;
  readonly #random: Random;
  readonly #watcher: StopWatcher;
  readonly #stream: ReturnType<Tokenizer["streamDecoder"]>;
  readonly #ends: ReadonlySet<number>;
  readonly #startedMs = performance.now();
  #count = 0;
  #stopReason: StopReason;

  /** Throws `GenerateError` for settings out of range. */
  constructor(parts: WritingParts) {
    const { tokenizer, tokens, ends, contextLength, options } = parts;
    this.#sampling = { ...GREEDY, ...parts.sampling, ...defined(options) };
    checkSampling(this.#sampling);
    this.tokens = [...tokens];
    this.#ends = ends;
    this.#random = new Random(options.seed ?? 0);
    this.#watcher = new StopWatcher(options.stop ?? [], options.onText);
    this.#stream = tokenizer.streamDecoder({ skipSpecialTokens: true, context: [...tokens] });
    const room = parts.overflows ? options.maxTokens : Math.max(0, contextLength - tokens.length);
    this.limit = Math.min(options.maxTokens, room);
    this.#stopReason = room < options.maxTokens ? "end of context" : "max tokens";
  }

  /**
   * Draws from the logits [V] that follow the text. Gives the token to go on from, or nothing where the text ends: the
   * last token is not needed any more.
   */
  take(logits: Float32Array): number | undefined {
    if (this.#count >= this.limit) return undefined;
    const next = sampleToken(logits, this.#sampling, this.#random, this.tokens);
    this.#count++;
    if (this.#ends.has(next)) {
      this.#stopReason = "end of text";
      return undefined;
    }
    this.tokens.push(next);
    if (this.#watcher.push(this.#stream.push(next))) {
      this.#stopReason = "stop string";
      return undefined;
    }
    return this.#count < this.limit ? next : undefined;
  }

  /** Once `take` has given nothing. */
  finish(promptTokenCount: number, reusedTokenCount: number): GeneratedText {
    const isStopped = this.#stopReason === "stop string";
    if (!isStopped && this.#watcher.push(this.#stream.end())) this.#stopReason = "stop string";
    const text = this.#watcher.finish();
    const elapsedSeconds = (performance.now() - this.#startedMs) / 1000;
    return {
      ...{ text, tokenCount: this.#count, promptTokenCount, reusedTokenCount },
      tokensPerSecond: this.#count / elapsedSeconds,
      stopReason: this.#stopReason,
    };
  }
}

/** What a model's `generation_config.json` says of sampling. */
export function samplingOf(generation: GenerationConfig | undefined): Partial<SamplingOptions> {
  if (generation === undefined || generation.doSample === false) return {};
  const { temperature, topK, topP, minP, repetitionPenalty, doSample } = generation;
  const asked = temperature ?? (doSample === true ? 1 : undefined);
  return {
    ...(asked !== undefined && { temperature: asked }),
    ...(topK !== undefined && { topK }),
    ...(topP !== undefined && { topP }),
    ...(minP !== undefined && { minP }),
    ...(repetitionPenalty !== undefined && { repetitionPenalty }),
  };
}

/** The sampling settings that were given. */
function defined(options: GenerateOptions): Partial<SamplingOptions> {
  return Object.fromEntries(
    Object.entries(options).filter(([key, value]) => key in GREEDY && value !== undefined),
  );
}
