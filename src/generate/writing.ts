import type { GenerationConfig } from "../model/index.ts";
import type { Tokenizer } from "../text/index.ts";
import { Random } from "../util/random.ts";
import type { ContextOverflow } from "./context-overflow.ts";
import { GREEDY, checkSampling, sampleToken } from "./sampling.ts";
import type { SamplingOptions } from "./sampling.ts";
import { ChangedScores } from "./score-changes.ts";
import type { ScoreChanges } from "./score-changes.ts";
import { StopWatcher } from "./stop-watcher.ts";
import { scoreToken } from "./token-scores.ts";
import type { ScoredToken } from "./token-scores.ts";
import { defined } from "../util/defined.ts";

/** What became certain of a text with one token. */
export interface WrittenPiece {
  /** Whole characters; empty while a character or what may be a stop string is not whole. */
  readonly text: string;
  /** The tokens that begin in the text so far and were not told before; none where no scores are asked for. */
  readonly tokens: readonly WrittenToken[];
}

/** A token of a text that was scored. */
export interface WrittenToken extends ScoredToken {
  /** UTF-16 units of the text, without the prompt, before the token's own. */
  readonly offset: number;
}

/** How text is written: how much, how tokens are drawn, where it ends. */
export interface GenerateOptions extends Partial<SamplingOptions>, ScoreChanges {
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
  /** Hears the same text together with the scores of its tokens. */
  readonly onPiece?: (piece: WrittenPiece) => void;
  /** Scores every written token, and tells so many of the likeliest beside it. Default: none are scored. */
  readonly topLogprobs?: number;
  /** Scores every token of the prompt as well, and tells so many beside it. Such a prompt is read without a prefix cache. */
  readonly promptLogprobs?: number;
  /** Tokens that end this text beside those of the model: what ends a turn of a chat. */
  readonly furtherEnds?: readonly number[];
  /** Goes on behind tokens that end a text. */
  readonly ignoresEnds?: boolean;
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
  /** Scores of the prompt's tokens where they were asked for; the first has nothing before it and no score. */
  readonly promptScores?: readonly (ScoredToken | undefined)[];
}

export interface WritingParts {
  readonly tokenizer: Tokenizer;
  /** The prompt. */
  readonly tokens: readonly number[];
  /** Tokens after which a text ends. */
  readonly ends: ReadonlySet<number>;
  readonly contextLength: number;
  /** Ids that are never drawn: rows of the model without a token. */
  readonly ruledOut: readonly number[];
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
  readonly #scores: ChangedScores;
  readonly #options: GenerateOptions;
  /** Tokens whose text was not passed on yet. */
  #held: WrittenToken[] = [];
  #decodedLength = 0;
  #promptScores: (ScoredToken | undefined)[] | undefined;
  #count = 0;
  #stopReason: StopReason;

  /** Throws `GenerateError` for settings out of range. */
  constructor(parts: WritingParts) {
    const { tokenizer, tokens, ends, contextLength, options } = parts;
    this.#sampling = { ...GREEDY, ...parts.sampling, ...givenSampling(options) };
    checkSampling(this.#sampling);
    this.tokens = [...tokens];
    this.#options = options;
    this.#scores = new ChangedScores(options, parts.ruledOut);
    this.#ends =
      options.ignoresEnds === true ? new Set() : new Set([...ends, ...(options.furtherEnds ?? [])]);
    this.#random = new Random(options.seed ?? 0);
    this.#watcher = new StopWatcher(options.stop ?? [], options.onText);
    if (options.promptLogprobs !== undefined) this.#promptScores = [undefined];
    this.#stream = tokenizer.streamDecoder({ skipSpecialTokens: true, context: [...tokens] });
    const room = parts.overflows ? options.maxTokens : Math.max(0, contextLength - tokens.length);
    this.limit = Math.min(options.maxTokens, room);
    this.#stopReason = room < options.maxTokens ? "end of context" : "max tokens";
  }

  /** Logits [V] that follow a token of the prompt which another one follows. */
  takeOfPrompt(logits: Float32Array, next: number): void {
    this.#promptScores?.push(scoreToken(logits, next, this.#options.promptLogprobs ?? 0));
  }

  /**
   * Draws from the logits [V] that follow the text. Gives the token to go on from, or nothing where the text ends: the
   * last token is not needed any more.
   */
  take(logits: Float32Array): number | undefined {
    if (this.#count >= this.limit) return undefined;
    const next = sampleToken(this.#scores.of(logits), this.#sampling, this.#random, this.tokens);
    this.#count++;
    if (this.#ends.has(next)) {
      this.#stopReason = "end of text";
      return undefined;
    }
    this.#scores.take(next);
    this.tokens.push(next);
    const { topLogprobs } = this.#options;
    if (topLogprobs !== undefined) {
      const scored = scoreToken(logits, next, topLogprobs);
      this.#held.push({ ...scored, offset: this.#decodedLength });
    }
    const piece = this.#stream.push(next);
    this.#decodedLength += piece.length;
    const before = this.#watcher.passedLength;
    const isStopped = this.#watcher.push(piece);
    this.#tell(before);
    if (isStopped) {
      this.#stopReason = "stop string";
      return undefined;
    }
    if (this.#scores.isComplete) {
      this.#stopReason = "end of text";
      return undefined;
    }
    return this.#count < this.limit ? next : undefined;
  }

  /** Tells what was passed on since, with the tokens that begin there. */
  #tell(before: number, isLast = false): void {
    const { onPiece } = this.#options;
    if (onPiece === undefined) return;
    const { passed, passedLength } = this.#watcher;
    // A token without text of its own belongs to what stands before it.
    const isPassed = ({ offset }: WrittenToken): boolean =>
      offset < passedLength || isLast || this.#decodedLength === passedLength;
    const tokens = this.#held.filter(isPassed);
    this.#held = this.#held.filter((held) => !isPassed(held));
    const text = passed.slice(before);
    if (text !== "" || tokens.length > 0) onPiece({ text, tokens });
  }

  /** Once `take` has given nothing. */
  finish(promptTokenCount: number, reusedTokenCount: number): GeneratedText {
    const before = this.#watcher.passedLength;
    if (this.#stopReason !== "stop string") {
      const rest = this.#stream.end();
      this.#decodedLength += rest.length;
      if (this.#watcher.push(rest)) this.#stopReason = "stop string";
    }
    const text = this.#watcher.finish();
    this.#tell(before, this.#stopReason !== "stop string");
    const elapsedSeconds = (performance.now() - this.#startedMs) / 1000;
    return {
      ...{ text, tokenCount: this.#count, promptTokenCount, reusedTokenCount },
      tokensPerSecond: this.#count / elapsedSeconds,
      stopReason: this.#stopReason,
      ...(this.#promptScores !== undefined && { promptScores: this.#promptScores }),
    };
  }
}

/** What a model's `generation_config.json` says of sampling. */
export function samplingOf(generation: GenerationConfig | undefined): Partial<SamplingOptions> {
  if (generation === undefined || generation.doSample === false) return {};
  const { temperature, topK, topP, minP, repetitionPenalty, doSample } = generation;
  const asked = temperature ?? (doSample === true ? 1 : undefined);
  return defined({ temperature: asked, topK, topP, minP, repetitionPenalty });
}

/** The sampling settings that were given. */
function givenSampling(options: GenerateOptions): Partial<SamplingOptions> {
  return Object.fromEntries(
    Object.entries(options).filter(([key, value]) => key in GREEDY && value !== undefined),
  );
}
