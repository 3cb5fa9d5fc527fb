import { createEngine, engineOptions } from "../../engine/create.ts";
import type { Engine, LoadedPlan } from "../../engine/engine.ts";
import { weightViews } from "../../engine/weight-views.ts";
import { adapterPart } from "../../model/adapters/adapter.ts";
import {
  cachedContextLength,
  cachedContextReason,
  readGenerationConfig,
} from "../../model/index.ts";
import type { Model } from "../../model/index.ts";
import { requireRows } from "../../runs/model-fit.ts";
import { trainedBeginnings } from "../../runs/trained-beginnings.ts";
import { loadTokenizer } from "../../text/index.ts";
import type { Tokenizer } from "../../text/index.ts";
import { didYouMean } from "../../util/nearest.ts";
import { ConstraintCompiler } from "../constraint/constraint-compiler.ts";
import { buildWeightsPlan } from "../decode-plan.ts";
import type { TokenConstraint } from "../constraint/token-constraint.ts";
import { GenerateError } from "../errors.ts";
import { Generator } from "../generator.ts";
import type { ScoreChanges } from "../score-changes.ts";
import type { ScoredToken } from "../token-scores.ts";
import type { SamplingOptions } from "../sampling.ts";
import { Turns } from "../turns.ts";
import { openInFormat } from "../weight-format.ts";
import { loadWeightPlan } from "../weight-plan.ts";
import { samplingOf } from "../writing.ts";
import type { GenerateOptions, WrittenToken } from "../writing.ts";
import type {
  ServiceCounts,
  ServiceFacts,
  ServiceSettings,
  TextBegin,
  TextPiece,
  TextRequest,
  TextResult,
  TextToken,
} from "./messages.ts";
import { ChatForms } from "./chat-forms.ts";
import { TokenTexts } from "./token-texts.ts";
import { defined } from "../../util/defined.ts";

/** What hears of a request's texts. */
export interface TextListener {
  readonly onBegun: (begin: TextBegin) => void;
  readonly onPiece: (piece: TextPiece) => void;
}

/** Writes what requests ask for with the model of a folder, and with adapters beside it. */
export class TextWriter {
  readonly #engine: Engine;
  readonly #tokenizer: Tokenizer;
  readonly #texts: TokenTexts;
  readonly #chats: ChatForms;
  readonly #constraints: ConstraintCompiler;
  readonly #model: Model;
  /** By the adapter's name; the empty one is the model alone. */
  readonly #generators: ReadonlyMap<string, Generator>;
  /** Of adapters first, since they share those of the model. */
  readonly #weights: readonly LoadedPlan[];
  readonly #maximumTexts: number;
  readonly #longestToken: number;
  /** How texts are sampled where a request does not say. */
  readonly #sampling: Partial<SamplingOptions>;

  private constructor(
    { folder, maximumTexts, prefixCacheBytes, products }: ServiceSettings,
    engine: Engine,
    { tokenizer, chats }: { readonly tokenizer: Tokenizer; readonly chats: ChatForms },
    models: readonly {
      readonly name: string;
      readonly model: Model;
      readonly weights: LoadedPlan;
    }[],
    hear: () => void,
  ) {
    const [base] = models;
    if (base === undefined) throw new GenerateError("generate.service", "there is no model");
    const generation = readGenerationConfig(folder, base.model.config);
    const turns = new Turns();
    this.#engine = engine;
    this.#tokenizer = tokenizer;
    this.#chats = chats;
    this.#texts = new TokenTexts(tokenizer);
    const { endOfText } = tokenizer.special;
    this.#constraints = new ConstraintCompiler(tokenizer, [
      ...base.model.config.endTokenIds,
      ...generation.endTokenIds,
      ...(endOfText === undefined ? [] : [endOfText]),
    ]);
    this.#model = base.model;
    this.#maximumTexts = maximumTexts;
    this.#longestToken = longestTokenOf(tokenizer);
    this.#sampling = {
      temperature: generation.doSample === false ? 0 : 1,
      ...samplingOf(generation),
    };
    this.#generators = new Map(
      models.map(({ name, model, weights }) => [
        name,
        new Generator({
          ...{
            engine,
            model,
            tokenizer,
            weights,
            maximumTexts,
            prefixCacheBytes,
            turns,
            generation,
            hear,
          },
          frozenWeights: products === "packed",
          trained: trainedBeginnings(folder),
        }),
      ]),
    );
    this.#weights = models.map(({ weights }) => weights).reverse();
  }

  /**
   * Opens a model folder and its adapters. Throws `ModelError` or `TextError` for what is wrong in them, `EngineError` for
   * an engine that cannot be had. `hear` is called between two steps, so that requests that came meanwhile join the next.
   */
  static async open(settings: ServiceSettings, hear: () => void): Promise<TextWriter> {
    const { folder } = settings;
    const opened = openInFormat(folder, [], settings.weights);
    const described = loadTokenizer(folder);
    const { tokenizer } = described;
    const chats = new ChatForms(
      described,
      folder,
      settings.adapters.map(({ name, sources }) => ({
        name,
        folders: sources.map((source) => source.folder),
      })),
    );
    requireRows(tokenizer.vocabularySize, opened.model.config.vocabularySize);
    const engine = await createEngine(settings.engine ?? "auto", engineOptions(settings));
    try {
      const weights = await loadWeightPlan(engine, opened);
      const models = [{ name: "", model: opened.model, weights }];
      for (const { name, sources } of settings.adapters) {
        const { model, load } = openInFormat(folder, sources, settings.weights);
        const own = await engine.load(buildWeightsPlan(model), { share: weights });
        const added = model.parameters.weights.filter(
          (weight) => adapterPart(weight) !== undefined,
        );
        load(
          weightViews((weight) => own.view(weight)),
          added,
        );
        models.push({ name, model, weights: own });
      }
      return new TextWriter(settings, engine, { tokenizer, chats }, models, hear);
    } catch (error) {
      await engine.close();
      throw error;
    }
  }

  get counts(): ServiceCounts {
    let running = 0;
    let waiting = 0;
    for (const { load } of this.#generators.values()) {
      running += load.running;
      waiting += load.waiting;
    }
    return { running, waiting };
  }

  /** Compiles what will be needed. `onProgress` hears what is being done. */
  async prepare(onProgress: (text: string) => void): Promise<ServiceFacts> {
    const { vocabularySize } = this.#model.config;
    const contextLength = cachedContextLength(this.#model.config);
    const prepared = new Set<string>();
    const left = new Set<string>();
    for (const [name, generator] of this.#generators) {
      onProgress(
        `compiling for ${this.#maximumTexts} texts at once${name === "" ? "" : ` (${name})`}`,
      );
      const shapes = await generator.prepare({
        sequenceCount: this.#maximumTexts,
        length: contextLength,
      });
      for (const { batchSize, bucket } of shapes.prepared) prepared.add(`${batchSize}x${bucket}`);
      for (const { batchSize, bucket } of shapes.left) left.add(`${batchSize}x${bucket}`);
    }
    const { name: engine, device } = this.#engine.description;
    return {
      ...{ contextLength, vocabularySize, engine, device },
      ...(this.#chats.source !== undefined && { chatTemplate: this.#chats.source }),
      prepared: [...prepared],
      left: [...left],
    };
  }

  /**
   * Writes what a request asks for. Throws `GenerateError` or `TextError` for what cannot be written, before `onBegun` is
   * called; rejects with the signal's reason once it is aborted.
   */
  async write(
    request: TextRequest,
    { onBegun, onPiece }: TextListener,
    signal: AbortSignal,
  ): Promise<TextResult> {
    const generator = this.#generatorOf(request.adapter);
    const tokens = this.#tokensOf(request, generator);
    const contextLength = cachedContextLength(this.#model.config);
    const room = contextLength - tokens.length;
    const { maxTokens = Math.max(1, room), count, seed } = request;
    if (maxTokens > room)
      throw new GenerateError(
        "generate.context",
        `this model's context is ${contextLength} tokens; the prompt has ${tokens.length}${request.maxTokens === undefined ? "" : `, and ${maxTokens} were asked for`}${cachedContextReason(this.#model.config)}`,
        { remedy: "Shorten the prompt, or ask for fewer tokens." },
      );
    if (tokens.length === 0)
      throw new GenerateError("generate.prompt", "the prompt is empty, and no token begins a text");
    this.#checkTokens(tokens);
    const { constraint } = request;
    const constraints =
      constraint === undefined
        ? []
        : Array.from({ length: count }, () => this.#constraints.compile(constraint));
    // What cannot be written has been told by now.
    const begin: TextBegin = {
      promptTokenCount: tokens.length,
      promptText: this.#tokenizer.decode(tokens),
    };
    onBegun(begin);
    const failure = new AbortController();
    const options = {
      ...this.#optionsOf(request),
      ...{ maxTokens, signal: AbortSignal.any([signal, failure.signal]) },
    };
    const written = await Promise.all(
      Array.from({ length: count }, async (_, choice) => {
        try {
          return await generator.continueTokens(tokens, {
            ...options,
            // Every text has the same prompt.
            ...(choice === 0 &&
              request.promptLogprobs !== undefined && {
                promptLogprobs: request.promptLogprobs,
              }),
            ...optionalConstraint(constraints[choice]),
            seed: seed + choice,
            onPiece: ({ text, tokens: scored }) =>
              onPiece({ choice, text, tokens: scored.map((token) => this.#scored(token)) }),
          });
        } catch (error) {
          failure.abort(error);
          throw error;
        }
      }),
    );
    const promptScores = written[0]?.promptScores;
    return {
      ...begin,
      texts: written.map(({ text, tokenCount, stopReason }) => ({ text, tokenCount, stopReason })),
      reusedTokenCount: written[0]?.reusedTokenCount ?? 0,
      ...(promptScores !== undefined && { promptTokens: this.#promptTokens(tokens, promptScores) }),
    };
  }

  async close(): Promise<void> {
    for (const generator of this.#generators.values()) await generator.close();
    for (const weights of this.#weights) await weights.close();
    await this.#engine.close();
  }

  #generatorOf(adapter = ""): Generator {
    const generator = this.#generators.get(adapter);
    if (generator !== undefined) return generator;
    throw new GenerateError(
      "generate.adapter",
      `no adapter "${adapter}" is served.${didYouMean(adapter, [...this.#generators.keys()])}`,
    );
  }

  #tokensOf({ prompt, adapter }: TextRequest, generator: Generator): readonly number[] {
    switch (prompt.kind) {
      case "text":
        this.#checkLength(prompt.text.length);
        return generator.promptTokens(prompt.text);
      case "tokens":
        return prompt.tokens;
      case "chat": {
        this.#chats.of(adapter);
        let length = 0;
        for (const { content } of prompt.messages)
          if (typeof content === "string") length += content.length;
        this.#checkLength(length);
        return this.#chats.render(adapter, prompt);
      }
    }
  }

  /** Throws where so many UTF-16 units do not fit, whatever they are: then they are not worth encoding. */
  #checkLength(length: number): void {
    const contextLength = cachedContextLength(this.#model.config);
    if (length <= contextLength * this.#longestToken) return;
    throw new GenerateError(
      "generate.context",
      `this model's context is ${contextLength} tokens; the prompt has ${length} characters, more than fit${cachedContextReason(this.#model.config)}`,
    );
  }

  #checkTokens(tokens: readonly number[]): void {
    const wrong = tokens.find((id) => this.#tokenizer.tokenOf(id) === undefined);
    if (wrong === undefined) return;
    throw new GenerateError(
      "generate.tokens",
      `token ${wrong} is not in the vocabulary of ${this.#tokenizer.vocabularySize} tokens`,
    );
  }

  #optionsOf(request: TextRequest): Omit<GenerateOptions, "maxTokens"> {
    const { sampling, stop, topLogprobs, frequencyPenalty, presencePenalty } = request;
    const { logitBias, ignoresEnds, prompt, adapter } = request;
    const turnEnd = prompt.kind === "chat" ? this.#chats.of(adapter).turnEnd : undefined;
    return {
      ...this.#sampling,
      ...sampling,
      stop: [...stop, ...(turnEnd?.stop ?? [])],
      ...(turnEnd !== undefined && { furtherEnds: turnEnd.tokenIds }),
      ...defined({ topLogprobs, frequencyPenalty, presencePenalty, logitBias, ignoresEnds }),
    };
  }

  #scored({ id, logprob, top, offset }: WrittenToken): TextToken {
    return {
      ...this.#texts.of(id),
      ...{ offset, logprob },
      top: top.map((each) => this.#texts.scored(each)),
    };
  }

  /** The prompt's tokens [N] with their scores and where they stand in its text. */
  #promptTokens(
    tokens: readonly number[],
    scores: readonly (ScoredToken | undefined)[],
  ): readonly TextToken[] {
    const stream = this.#tokenizer.streamDecoder();
    let offset = 0;
    return tokens.map((id, index) => {
      const scored = scores[index];
      const token: TextToken = {
        ...this.#texts.of(id),
        offset,
        logprob: scored?.logprob ?? null,
        top: (scored?.top ?? []).map((each) => this.#texts.scored(each)),
      };
      offset += stream.push(id).length;
      return token;
    });
  }
}

function optionalConstraint(constraint: TokenConstraint | undefined): ScoreChanges {
  return constraint === undefined ? {} : { constraint };
}

/** Most UTF-16 units that a token stands for. */
function longestTokenOf(tokenizer: Tokenizer): number {
  let longest = 1;
  for (let id = 0; id < tokenizer.vocabularySize; id++)
    longest = Math.max(longest, tokenizer.tokenOf(id)?.length ?? 0);
  return longest;
}
