import type { Engine, LoadedPlan } from "../engine/engine.ts";
import type { Model } from "../model/index.ts";
import { optimize } from "../passes/pipeline.ts";
import { startTokens } from "../text/index.ts";
import type { Tokenizer, TrainedBeginnings } from "../text/index.ts";
import { Random } from "../util/random.ts";
import { DecodeSession } from "./decode-session.ts";
import { GenerateError } from "./errors.ts";
import { GREEDY, checkSampling, sampleToken } from "./sampling.ts";
import type { SamplingOptions } from "./sampling.ts";

export interface GenerateOptions extends Partial<SamplingOptions> {
  readonly maxTokens: number;
  readonly seed?: number;
  /** Generation ends where one of these appears; the text ends before it. */
  readonly stop?: readonly string[];
  /** Hears the text as it is written, whole characters only. */
  readonly onText?: (piece: string) => void;
}

export type StopReason = "end of text" | "stop string" | "max tokens" | "end of context";

export interface GeneratedText {
  /** Without the prompt. */
  readonly text: string;
  readonly tokenCount: number;
  readonly tokensPerSecond: number;
  readonly stopReason: StopReason;
}

export interface GeneratorParts {
  readonly engine: Engine;
  readonly model: Model;
  readonly tokenizer: Tokenizer;
  /** A loaded plan whose weights are used, under their Hugging Face names. */
  readonly weights: LoadedPlan;
  /** How the documents began that the model was trained on; default: as the tokenizer's template says. */
  readonly trained?: TrainedBeginnings | undefined;
}

/** Writes text with a model, one token after the other, over a cache of keys and values. */
export class Generator {
  readonly #tokenizer: Tokenizer;
  readonly #model: Model;
  readonly #trained: TrainedBeginnings | undefined;
  readonly #session: DecodeSession;

  constructor(parts: GeneratorParts) {
    this.#tokenizer = parts.tokenizer;
    this.#model = parts.model;
    this.#trained = parts.trained;
    this.#session = new DecodeSession({
      engine: parts.engine,
      model: parts.model,
      weights: parts.weights,
      optimize: (fn) => optimize(fn),
    });
  }

  /** Continues a prompt; an empty one begins a document. Throws `GenerateError` for settings out of range. */
  async generate(prompt: string, options: GenerateOptions): Promise<GeneratedText> {
    const sampling: SamplingOptions = { ...GREEDY, ...defined(options) };
    checkSampling(sampling);
    const tokens = this.#promptTokens(prompt);
    const random = new Random(options.seed ?? 0);
    const ends = new Set(this.#model.config.endTokenIds);
    const { endOfText } = this.#tokenizer.special;
    if (endOfText !== undefined) ends.add(endOfText);
    const watcher = new StopWatcher(options.stop ?? [], options.onText);
    const stream = this.#tokenizer.streamDecoder({ skipSpecialTokens: true, context: [...tokens] });
    const room = Math.max(0, this.#model.config.contextLength - tokens.length);
    let tokenCount = 0;
    let stopReason: StopReason = room < options.maxTokens ? "end of context" : "max tokens";
    const startedMs = performance.now();
    const limit = Math.min(options.maxTokens, room);
    // The last token is not appended any more.
    this.#session.begin({
      promptLength: tokens.length,
      length: tokens.length + Math.max(0, limit - 1),
    });
    let logits = await this.#session.append(tokens);
    while (tokenCount < limit) {
      const next = sampleToken(logits, sampling, random, tokens);
      tokenCount++;
      if (ends.has(next)) {
        stopReason = "end of text";
        break;
      }
      tokens.push(next);
      if (watcher.push(stream.push(next))) {
        stopReason = "stop string";
        break;
      }
      if (tokenCount < limit) logits = await this.#session.append([next]);
    }
    if (stopReason !== "stop string" && watcher.push(stream.end())) stopReason = "stop string";
    const text = watcher.finish();
    const elapsedSeconds = (performance.now() - startedMs) / 1000;
    return { text, tokenCount, tokensPerSecond: tokenCount / elapsedSeconds, stopReason };
  }

  async close(): Promise<void> {
    await this.#session.close();
  }

  #promptTokens(prompt: string): number[] {
    const ids = this.#tokenizer.encode(prompt);
    const start = startTokens(this.#tokenizer, prompt === "", this.#trained);
    // A prompt that spells its begin token has it.
    const isSpelt = start.length > 0 && start.every((id, index) => ids[index] === id);
    const tokens = isSpelt ? Array.from(ids) : [...start, ...ids];
    if (tokens.length === 0) {
      throw new GenerateError("generate.prompt", "this tokenizer has no token that begins a text", {
        remedy: "Give a prompt with --prompt.",
      });
    }
    if (tokens.length >= this.#model.config.contextLength) {
      throw new GenerateError(
        "generate.prompt",
        `the prompt has ${tokens.length} tokens, the model's context ends at ${this.#model.config.contextLength}`,
        { remedy: "Shorten the prompt." },
      );
    }
    return tokens;
  }
}

/** The sampling settings that were given. */
function defined(options: GenerateOptions): Partial<SamplingOptions> {
  return Object.fromEntries(
    Object.entries(options).filter(([key, value]) => key in GREEDY && value !== undefined),
  );
}

/** Passes text on, holding back what may be the beginning of a stop string. */
class StopWatcher {
  readonly #stops: readonly string[];
  readonly #onText: ((piece: string) => void) | undefined;
  #passed = "";
  #held = "";

  constructor(stops: readonly string[], onText?: (piece: string) => void) {
    this.#stops = stops.filter((stop) => stop !== "");
    this.#onText = onText;
  }

  /** Takes a piece of text; true once a stop string has appeared. */
  push(piece: string): boolean {
    this.#held += piece;
    const found = this.#stops
      .map((stop) => this.#held.indexOf(stop))
      .filter((index) => index >= 0)
      .sort((a, b) => a - b)[0];
    if (found !== undefined) {
      this.#pass(found);
      this.#held = "";
      return true;
    }
    let keep = 0;
    for (const stop of this.#stops) {
      for (let length = Math.min(stop.length - 1, this.#held.length); length > keep; length--) {
        if (this.#held.endsWith(stop.slice(0, length))) keep = length;
      }
    }
    this.#pass(this.#held.length - keep);
    return false;
  }

  finish(): string {
    this.#pass(this.#held.length);
    return this.#passed;
  }

  #pass(length: number): void {
    if (length <= 0) return;
    const piece = this.#held.slice(0, length);
    this.#held = this.#held.slice(length);
    this.#passed += piece;
    this.#onText?.(piece);
  }
}
