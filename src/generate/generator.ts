import type { LoadedPlan } from "../engine/engine.ts";
import { cachedContextLength, cachedContextReason } from "../model/index.ts";
import type { GenerationConfig, Model } from "../model/index.ts";
import { optimize } from "../passes/pipeline.ts";
import { startTokens } from "../text/index.ts";
import type { Tokenizer, TrainedBeginnings } from "../text/index.ts";
import { overflowOf, windowOf } from "./context-overflow.ts";
import type { ContextOverflow } from "./context-overflow.ts";
import { Decoder } from "./decoder.ts";
import type { PreparedShapes, DecoderOptions } from "./decoder.ts";
import { GenerateError } from "./errors.ts";
import { commonPrefix, isWorthCopying, PrefixCache } from "./prefix-cache.ts";
import type { FoundPrefix } from "./prefix-cache.ts";
import type { Sequence } from "./sequence.ts";
import { Turns } from "./turns.ts";
import { samplingOf, Writing } from "./writing.ts";
import type { GeneratedText, GenerateOptions } from "./writing.ts";

/** What a generator is made of. */
export interface GeneratorParts extends Pick<DecoderOptions, "engine" | "model"> {
  readonly tokenizer: Tokenizer;
  /** A loaded plan whose weights are used, under their Hugging Face names. */
  readonly weights: LoadedPlan;
  /** As `DecoderOptions.frozenWeights`: many texts that are written together take less time, one alone more. */
  readonly frozenWeights?: boolean;
  /** How the documents began that the model was trained on; default: as the tokenizer's template says. */
  readonly trained?: TrainedBeginnings | undefined;
  /** How the model wants to be sampled, where nothing else is asked; its end tokens end a text. */
  readonly generation?: GenerationConfig | undefined;
  /** Texts that are written at once at most; more wait. Default 32. */
  readonly maximumTexts?: number;
  /**
   * Most bytes of caches that are kept of finished texts, for prompts that begin alike. Default 0: every text is computed
   * from its beginning, and its bits do not depend on what was written before.
   */
  readonly prefixCacheBytes?: number;
  /** Turns on the engine, which generators of one engine share. */
  readonly turns?: Turns;
  /** Called between two steps, to hear of texts that are to join or to end: the event loop has its turn more rarely. */
  readonly hear?: () => void;
}

const DEFAULT_MAXIMUM_TEXTS = 32;
/** More texts take turns: larger batches are no row programs, and their products are added up in another order. */
const MOST_IN_A_STEP = 64;
/** Texts that are written wait for the next token until so many tokens of prompts are read, or a piece of one longer prompt. */
const READ_BETWEEN_STEPS = 32;

/** A text from when it is asked for until it ends. */
interface Job {
  readonly writing: Writing;
  /** Its cache, from when it begins to be written. */
  sequence: Sequence | undefined;
  /** What is read of the prompt, and where it may be found read already. */
  readonly prompt: readonly number[];
  readonly find: () => FoundPrefix | undefined;
  /** Positions that the text may fill. */
  readonly length: number;
  readonly promptTokenCount: number;
  reusedTokenCount: number;
  /** Whether every token of the prompt is scored. */
  readonly isScored: boolean;
  /** Tokens of the prompt that the model has not read. */
  unread: readonly number[];
  /** Drawn, and not yet appended. */
  next: number | undefined;
  /** The tokens to read where the context is full; absent where the text ends there. */
  readonly windowOf: ((tokens: readonly number[]) => readonly number[]) | undefined;
  /** Whether the sequence holds a part of the text that does not begin it. */
  isWindow: boolean;
  readonly signal: AbortSignal | undefined;
  readonly resolve: (text: GeneratedText) => void;
  readonly reject: (reason: unknown) => void;
}

/** Writes texts with a model. Texts that are asked for while others are written join them, and leave as they end. */
export class Generator {
  readonly #tokenizer: Tokenizer;
  readonly #model: Model;
  readonly #trained: TrainedBeginnings | undefined;
  readonly #generation: GenerationConfig | undefined;
  readonly #decoder: Decoder;
  readonly #maximumTexts: number;
  readonly #prefixes: PrefixCache | undefined;
  readonly #turns: Turns;
  readonly #hear: (() => void) | undefined;
  readonly #ends: ReadonlySet<number>;
  /** Rows of the model that no token has. */
  readonly #ruledOut: readonly number[];
  readonly #waiting: Job[] = [];
  readonly #running = new Set<Job>();
  #work: Promise<void> = Promise.resolve();
  #isWorking = false;
  #isClosed = false;

  constructor(parts: GeneratorParts) {
    const { engine, model, tokenizer, weights, prefixCacheBytes = 0 } = parts;
    this.#tokenizer = tokenizer;
    this.#model = model;
    this.#trained = parts.trained;
    this.#generation = parts.generation;
    this.#maximumTexts = parts.maximumTexts ?? DEFAULT_MAXIMUM_TEXTS;
    this.#prefixes = prefixCacheBytes > 0 ? new PrefixCache(prefixCacheBytes) : undefined;
    this.#turns = parts.turns ?? new Turns();
    this.#hear = parts.hear;
    const { endOfText } = tokenizer.special;
    this.#ends = new Set([
      ...model.config.endTokenIds,
      ...(parts.generation?.endTokenIds ?? []),
      ...(endOfText === undefined ? [] : [endOfText]),
    ]);
    this.#ruledOut = Array.from({ length: model.config.vocabularySize }, (_, id) => id).filter(
      (id) => tokenizer.tokenOf(id) === undefined,
    );
    this.#decoder = new Decoder({
      ...{ engine, model, weights, maximumBatch: Math.min(this.#maximumTexts, MOST_IN_A_STEP) },
      frozenWeights: parts.frozenWeights ?? false,
      optimize: (fn) => optimize(fn),
    });
  }

  /** Texts that are written now, and that wait. */
  get load(): { readonly running: number; readonly waiting: number } {
    return { running: this.#running.size, waiting: this.#waiting.length };
  }

  /**
   * Continues a prompt; an empty one begins a document. Throws `GenerateError` for settings out of range and prompts
   * that fill the context.
   */
  async generate(prompt: string, options: GenerateOptions): Promise<GeneratedText> {
    return this.continueTokens(this.promptTokens(prompt), options);
  }

  /** As `generate` for a prompt in tokens, which are taken as they are. */
  async continueTokens(
    tokens: readonly number[],
    options: GenerateOptions,
  ): Promise<GeneratedText> {
    this.#checkPrompt(tokens, options);
    const mayReuse = options.promptLogprobs === undefined && tokens.length <= this.#contextLength;
    return this.#write(
      tokens,
      options,
      () => (mayReuse ? this.#findPrefix(tokens) : undefined),
      (kept) => {
        if (this.#prefixes === undefined) kept.sequence.release();
        else this.#prefixes.put(kept);
      },
    );
  }

  /** What of a prompt is read already: of a text that is written now, or of a finished one. */
  #findPrefix(tokens: readonly number[]): FoundPrefix | undefined {
    if (this.#prefixes === undefined) return undefined;
    let best: Sequence | undefined;
    let count = 0;
    for (const { sequence, writing, isWindow } of this.#running) {
      if (sequence === undefined || isWindow) continue;
      const read = Math.min(sequence.length, tokens.length - 1);
      const common = Math.min(commonPrefix(writing.tokens, tokens), read);
      if (common > count) [best, count] = [sequence, common];
    }
    const found = this.#prefixes.take(tokens, count);
    if (found !== undefined || best === undefined || !isWorthCopying(count)) return found;
    return { sequence: best.fork(count), count };
  }

  /** A conversation, or another text that is gone on with again and again: its cache stays between turns. */
  session(): GenerationSession {
    let kept: { readonly tokens: readonly number[]; readonly sequence: Sequence } | undefined;
    let isBusy = false;
    const continueTokens = async (
      tokens: readonly number[],
      options: GenerateOptions,
    ): Promise<GeneratedText> => {
      if (isBusy)
        throw new GenerateError("generate.session", "a session writes one text at a time", {
          remedy: "Wait for the text before, or open a session for each.",
        });
      this.#checkPrompt(tokens, options);
      isBusy = true;
      try {
        const sequence = kept?.sequence ?? this.#sequenceFor(tokens, this.#contextLength);
        const count = Math.min(commonPrefix(kept?.tokens ?? [], tokens), tokens.length - 1);
        sequence.truncate(count);
        return await this.#write(
          tokens,
          options,
          () => ({ sequence, count }),
          (now) => (kept = now),
        );
      } finally {
        isBusy = false;
      }
    };
    return {
      continueTokens,
      generate: (prompt, options) => continueTokens(this.promptTokens(prompt), options),
    };
  }

  /**
   * Compiles what so many texts of up to `length` tokens need, so that none waits for it. Tells what is left to run one
   * by one because the process may compile no more.
   */
  async prepare(
    size: { readonly sequenceCount: number; readonly length: number },
    signal?: AbortSignal,
  ): Promise<PreparedShapes> {
    return this.#turns.take(async () => this.#decoder.prepare(size, signal));
  }

  /** Texts that are still written are rejected with `GenerateError` `generate.closed`. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#work;
    await this.#decoder.close();
  }

  /** What a prompt is to the model: its tokens, behind the token that begins a document where it has one. */
  promptTokens(prompt: string): number[] {
    const ids = this.#tokenizer.encode(prompt);
    const start = startTokens(this.#tokenizer, prompt === "", this.#trained);
    // A prompt that spells its begin token has it.
    const isSpelt = start.length > 0 && start.every((id, index) => ids[index] === id);
    return isSpelt ? Array.from(ids) : [...start, ...ids];
  }

  get #contextLength(): number {
    return cachedContextLength(this.#model.config);
  }

  #checkPrompt(
    tokens: readonly number[],
    { contextOverflow, onNote, maxTokens }: GenerateOptions,
  ): void {
    if (this.#isClosed) throw closed();
    if (tokens.length === 0) {
      throw new GenerateError("generate.prompt", "this tokenizer has no token that begins a text", {
        remedy: "Give a prompt with --prompt.",
      });
    }
    const ends = this.#overflow(contextOverflow) === "stop";
    // A prompt that is only scored may fill the context.
    if (ends && tokens.length + Math.min(1, maxTokens) > this.#contextLength) {
      throw new GenerateError(
        "generate.prompt",
        `the prompt has ${tokens.length} tokens, the model's context ends at ${this.#contextLength}${cachedContextReason(this.#model.config)}`,
        { remedy: "Shorten the prompt, or read its end alone: --context-overflow auto." },
      );
    }
    const { unknown } = this.#tokenizer.special;
    const unknownCount = tokens.filter((id) => id === unknown).length;
    if (unknownCount > 0) {
      onNote?.(
        `${unknownCount} ${unknownCount === 1 ? "token" : "tokens"} of the prompt stand for text that is not in the tokenizer's vocabulary`,
      );
    }
  }

  #overflow(asked: ContextOverflow = "stop"): Exclude<ContextOverflow, "auto"> {
    return overflowOf(asked, this.#model.config);
  }

  /** What is read of a text where the context is full, or nothing where it ends there. */
  #windowing({ contextOverflow }: GenerateOptions, prompt: readonly number[]): Job["windowOf"] {
    const overflow = this.#overflow(contextOverflow);
    if (overflow === "stop") return undefined;
    const start = startTokens(this.#tokenizer, false, this.#trained);
    const isBegun = start.every((id, index) => prompt[index] === id);
    const kept = isBegun ? start : [];
    return (tokens) => windowOf(tokens, kept, this.#contextLength, overflow);
  }

  #sequenceFor(tokens: readonly number[], length: number): Sequence {
    return this.#decoder.sequence({ promptLength: tokens.length, length });
  }

  /**
   * Queues a text. `find` is asked for a sequence that holds its beginning once it is its turn; `keep` gets its sequence
   * once nobody writes it any more.
   */
  async #write(
    tokens: readonly number[],
    options: GenerateOptions,
    find: () => FoundPrefix | undefined,
    keep: (kept: { readonly tokens: readonly number[]; readonly sequence: Sequence }) => void,
  ): Promise<GeneratedText> {
    const { signal } = options;
    signal?.throwIfAborted();
    const writing = new Writing({
      ...{ tokenizer: this.#tokenizer, tokens, ends: this.#ends, options },
      ruledOut: this.#ruledOut,
      contextLength: this.#contextLength,
      overflows: this.#overflow(options.contextOverflow) !== "stop",
      sampling: samplingOf(this.#generation),
    });
    const windowing = this.#windowing(options, tokens);
    const isLong = windowing !== undefined && tokens.length > this.#contextLength;
    const read = isLong ? windowing(tokens) : tokens;
    if (isLong) {
      options.onNote?.(
        `the prompt has ${tokens.length} tokens; the model's context holds the last ${read.length}`,
      );
    }
    let job: Job | undefined;
    try {
      return await new Promise<GeneratedText>((resolve, reject) => {
        job = {
          ...{ writing, signal, resolve, reject, find },
          sequence: undefined,
          prompt: read,
          // The last token is not appended any more.
          length: Math.min(this.#contextLength, read.length + Math.max(0, writing.limit - 1)),
          promptTokenCount: tokens.length,
          reusedTokenCount: 0,
          isScored: options.promptLogprobs !== undefined && !isLong,
          unread: read,
          next: undefined,
          windowOf: windowing,
          isWindow: isLong,
        };
        this.#waiting.push(job);
        if (!this.#isWorking) {
          this.#isWorking = true;
          this.#work = this.#run();
        }
      });
    } finally {
      const { sequence, isWindow = false } = job ?? {};
      if (sequence !== undefined) {
        // A window of a text is no beginning of another one.
        if (isWindow) sequence.truncate(0);
        keep({ tokens: writing.tokens.slice(0, sequence.length), sequence });
      }
    }
  }

  /** Gives a text its cache, when its prompt is about to be read: what others have read by then it need not. */
  #begin(job: Job): void {
    try {
      const found = job.find();
      const sequence = found?.sequence ?? this.#sequenceFor(job.prompt, job.length);
      job.sequence = sequence;
      if (job.isWindow) sequence.truncate(0);
      else job.reusedTokenCount = found?.count ?? 0;
      job.unread = job.prompt.slice(job.reusedTokenCount);
    } catch (error) {
      this.#end(job, () => job.reject(error));
    }
  }

  /** Until nothing is left to write: some of the prompts, then a token of every text, and again. */
  async #run(): Promise<void> {
    for (;;) {
      this.#hear?.();
      this.#dropAborted();
      while (this.#waiting.length > 0 && this.#running.size < this.#maximumTexts) {
        const job = this.#waiting.shift();
        if (job !== undefined) this.#running.add(job);
      }
      const jobs = [...this.#running];
      if (jobs.length === 0) {
        // At once: whoever asks next must find that nobody works.
        this.#isWorking = false;
        return;
      }
      let readCount = 0;
      for (const job of jobs) {
        if (job.unread.length === 0 || readCount >= READ_BETWEEN_STEPS) continue;
        readCount += await this.#turns.take(async () => this.#read(job));
      }
      const drawing = jobs.filter((job) => this.#running.has(job) && job.next !== undefined);
      if (drawing.length > 0) await this.#turns.take(async () => this.#step(drawing));
      await this.#decoder.breathe();
    }
  }

  #dropAborted(): void {
    for (const job of [...this.#running, ...this.#waiting]) {
      if (this.#isClosed) this.#end(job, () => job.reject(closed()));
      else if (job.signal?.aborted === true) {
        const { reason } = job.signal;
        this.#end(job, () => job.reject(reason));
      }
    }
  }

  /** Reads a piece of a prompt; gives how many of its tokens that were. */
  async #read(job: Job): Promise<number> {
    if (job.sequence === undefined) this.#begin(job);
    const { sequence, unread } = job;
    if (sequence === undefined) return 0;
    try {
      if (job.isScored && !job.isWindow) return await this.#readScored(job, sequence);
      const { count, logits } = await this.#decoder.appendSome(sequence, unread);
      job.unread = unread.slice(count);
      if (logits !== undefined) this.#draw(job, logits);
      return count;
    } catch (error) {
      this.#end(job, () => job.reject(error));
      return 0;
    }
  }

  /** Reads a piece of a prompt whose tokens are scored. */
  async #readScored(job: Job, sequence: Sequence): Promise<number> {
    const { unread, writing } = job;
    const { vocabularySize } = this.#model.config;
    const { count, logits } = await this.#decoder.scoreSome(sequence, unread);
    job.unread = unread.slice(count);
    for (let row = 0; row < count; row++) {
      const own = logits.subarray(row * vocabularySize, (row + 1) * vocabularySize);
      const next = unread[row + 1];
      if (next === undefined) this.#draw(job, own);
      else writing.takeOfPrompt(own, next);
    }
    return count;
  }

  async #step(jobs: readonly Job[]): Promise<void> {
    try {
      const entries = jobs.flatMap(({ sequence, next = 0 }) =>
        sequence === undefined ? [] : [{ sequence, token: next }],
      );
      await this.#decoder.stepEach(entries, (logits, index) => {
        const job = jobs[index];
        if (job !== undefined) this.#draw(job, logits);
      });
    } catch (error) {
      for (const job of jobs) this.#end(job, () => job.reject(error));
    }
  }

  /** What goes wrong in one text, such as a listener that throws, is that text's. */
  #draw(job: Job, logits: Float32Array): void {
    try {
      job.next = job.writing.take(logits);
      if (job.next !== undefined) {
        this.#makeRoom(job);
        return;
      }
      const text = job.writing.finish(job.promptTokenCount, job.reusedTokenCount);
      this.#end(job, () => job.resolve(text));
    } catch (error) {
      this.#end(job, () => job.reject(error));
    }
  }

  /** Where the context is full, a window of the text is read again, and the token that was drawn with it. */
  #makeRoom(job: Job): void {
    const { windowOf, sequence } = job;
    if (windowOf === undefined || sequence === undefined) return;
    if (sequence.length < this.#contextLength) return;
    job.unread = windowOf(job.writing.tokens);
    sequence.truncate(0);
    job.isWindow = true;
    job.next = undefined;
  }

  #end(job: Job, tell: () => void): void {
    this.#running.delete(job);
    const place = this.#waiting.indexOf(job);
    if (place >= 0) this.#waiting.splice(place, 1);
    tell();
  }
}

/** Texts that share a beginning, one after the other: what both begin with is read once. */
export interface GenerationSession {
  /**
   * As `Generator.generate`. The last bits of a text may be other ones than without a session, since its prompt was read
   * in other pieces. Throws `GenerateError` `generate.session` while it writes already.
   */
  readonly generate: (prompt: string, options: GenerateOptions) => Promise<GeneratedText>;
  /** As `generate` for a prompt in tokens, which are taken as they are. */
  readonly continueTokens: (
    tokens: readonly number[],
    options: GenerateOptions,
  ) => Promise<GeneratedText>;
}

function closed(): GenerateError {
  return new GenerateError("generate.closed", "the generator was closed before the text was done");
}
