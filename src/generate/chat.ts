import * as z from "zod";
import { createEngine, engineOptions } from "../engine/create.ts";
import type { EngineSettings } from "../engine/create.ts";
import type { Engine, LoadedPlan } from "../engine/engine.ts";
import { weightViews } from "../engine/weight-views.ts";
import {
  cachedContextLength,
  holdsAdapter,
  readGenerationConfig,
  refillAdapter,
} from "../model/index.ts";
import type { AdapterSource, Model } from "../model/index.ts";
import { requireRows } from "../runs/model-fit.ts";
import {
  ChatTemplate,
  chatTemplateSource,
  hasChatTemplate,
  loadTokenizer,
  withChatTemplate,
  withTemplateOf,
} from "../text/index.ts";
import type { ChatMessage, DescribedTokenizer, TurnEnd } from "../text/index.ts";
import { writeWholeFile } from "../util/atomic-file.ts";
import { readSmallFile } from "../util/byte-source.ts";
import { AnecdoteError } from "../util/errors.ts";
import { GenerateError } from "./errors.ts";
import { Generator } from "./generator.ts";
import type { GenerationSession } from "./generator.ts";
import { openInFormat } from "./weight-format.ts";
import type { WeightFormat } from "./weight-format.ts";
import { loadWeightPlan } from "./weight-plan.ts";
import type { GeneratedText, GenerateOptions } from "./writing.ts";

/** With what a conversation begins. */
export interface ChatOptions extends EngineSettings {
  readonly engine?: string;
  readonly adapters?: readonly AdapterSource[];
  /** How matrices and tables stand in memory. Default: as the folder says. */
  readonly weights?: WeightFormat | undefined;
  /** What the model is told before all else. */
  readonly system?: string | undefined;
  /** In place of the adapter's or the model's: plain, chatml, or a file. */
  readonly chatTemplate?: string | undefined;
  /** Told what a user should know. */
  readonly onNote?: (message: string) => void;
}

const FILE_BYTES = 64 << 20;
const savedSchema = z.looseObject({
  version: z.literal(1).optional(),
  messages: z.array(z.looseObject({ role: z.string().min(1), content: z.string() })),
});

/** The model that answers, as it is loaded. */
interface Answering {
  readonly model: Model;
  readonly weights: LoadedPlan;
  readonly generator: Generator;
}

/**
 * A conversation with the model of a folder. The cache of keys and values stays between turns: a question is read from
 * where the text differs from what was read before.
 */
export class Chat {
  readonly #folder: string;
  readonly #engine: Engine;
  readonly #options: ChatOptions;
  readonly #described: DescribedTokenizer;
  #template: ChatTemplate;
  #turnEnd: TurnEnd;
  #answering: Answering;
  #session: GenerationSession;
  #adapters: readonly AdapterSource[];
  #system: string | undefined;
  /** Questions and answers. */
  #messages: readonly ChatMessage[] = [];

  private constructor(
    folder: string,
    engine: Engine,
    options: ChatOptions,
    parts: { readonly described: DescribedTokenizer; readonly answering: Answering },
    template: ChatTemplate,
  ) {
    this.#folder = folder;
    this.#engine = engine;
    this.#options = options;
    this.#described = parts.described;
    this.#template = template;
    this.#turnEnd = template.turnEnd();
    this.#answering = parts.answering;
    this.#session = parts.answering.generator.session();
    this.#adapters = options.adapters ?? [];
    this.#system = options.system;
  }

  /**
   * Opens a model folder for a conversation. Throws `ModelError` and `TextError` for what is wrong in the folder,
   * `TextError` `text.chat.none` where there is no chat template.
   */
  static async open(folder: string, options: ChatOptions = {}): Promise<Chat> {
    const described = loadTokenizer(folder);
    const template = templateOf(folder, described, options);
    const engine = await createEngine(options.engine ?? "auto", engineOptions(options));
    try {
      const answering = await answeringWith(
        ...([folder, options.adapters ?? [], engine, described, options.weights] as const),
      );
      return new Chat(folder, engine, options, { described, answering }, template);
    } catch (error) {
      await engine.close();
      throw error;
    }
  }

  /** All that was said, the system's message first. */
  get messages(): readonly ChatMessage[] {
    return [...this.#systemMessages, ...this.#messages];
  }

  get system(): string | undefined {
    return this.#system;
  }

  set system(text: string | undefined) {
    this.#system = text === "" ? undefined : text;
  }

  /**
   * A question and its answer, both of which are then part of the conversation; nothing is where it fails or is
   * aborted. Where the conversation is longer than the model's context its oldest turns are not read.
   */
  async say(text: string, options: GenerateOptions): Promise<GeneratedText> {
    return await this.#answer([...this.#messages, { role: "user", content: text }], options);
  }

  /** Another answer to the last question. Throws `GenerateError` where nothing was asked. */
  async retry(options: GenerateOptions): Promise<GeneratedText> {
    return await this.#answer([...this.#upToQuestion(), this.#lastQuestion()], options);
  }

  /** Asks something else in place of the last question. Throws `GenerateError` where nothing was asked. */
  async edit(text: string, options: GenerateOptions): Promise<GeneratedText> {
    this.#lastQuestion();
    return await this.#answer([...this.#upToQuestion(), { role: "user", content: text }], options);
  }

  /** Forgets what was said; the system's message stays. */
  reset(): void {
    this.#messages = [];
  }

  /** Writes the conversation: the form that data of conversations have, one object. */
  save(path: string): void {
    const content = { version: 1, model: this.#folder, messages: this.messages };
    writeWholeFile(path, `${JSON.stringify(content, null, 2)}\n`);
  }

  /** Goes on with a saved conversation. Throws `GenerateError` for a file that is none; nothing changes then. */
  load(path: string): void {
    let saved: z.infer<typeof savedSchema>;
    try {
      const text = Buffer.from(readSmallFile(path, FILE_BYTES)).toString("utf8");
      saved = savedSchema.parse(JSON.parse(text));
    } catch (error) {
      const why = error instanceof z.ZodError ? z.prettifyError(error) : String(error);
      throw new GenerateError("generate.chat.file", `${path} is no conversation: ${why}`, {
        remedy: 'It must hold {"messages": [{"role": "user", "content": "..."}, ...]}.',
        cause: error,
      });
    }
    const [first, ...others] = saved.messages;
    const hasSystem = first?.role === "system";
    this.#system = hasSystem ? first.content : undefined;
    this.#messages = hasSystem ? others : saved.messages;
  }

  /** What is beside the model. */
  get adapters(): readonly AdapterSource[] {
    return this.#adapters;
  }

  /**
   * Answers with other adapters from here on, or with none. Adapters of the ranks and modules that are loaded replace
   * each other's numbers, and nothing is compiled; the cache begins anew. Throws `GenerateError`
   * `generate.chat.adapters` for adapters of another model and where no chat template is left; model, template and
   * conversation stay as they were then.
   */
  async setAdapters(adapters: readonly AdapterSource[]): Promise<void> {
    const before = this.#answering;
    const notes: string[] = [];
    try {
      // All that can be refused comes before the first change.
      const onNote = (note: string): void => void notes.push(note);
      const template = templateOf(this.#folder, this.#described, {
        ...this.#options,
        ...{ adapters, onNote },
      });
      const turnEnd = template.turnEnd();
      if (holdsAdapter(before.model, adapters)) {
        const view = weightViews((name) => before.weights.view(name));
        refillAdapter(before.model, view, adapters);
      } else if (before.model.parameters.adapter !== undefined || adapters.length > 0) {
        this.#answering = await answeringWith(
          ...([this.#folder, adapters, this.#engine, this.#described] as const),
          this.#options.weights,
        );
      }
      this.#template = template;
      this.#turnEnd = turnEnd;
    } catch (error) {
      if (error instanceof AnecdoteError) throw this.#unchanged(error);
      throw error;
    }
    this.#adapters = adapters;
    this.#session = this.#answering.generator.session();
    for (const note of notes) this.#options.onNote?.(note);
    if (this.#answering !== before) await closeAnswering(before);
  }

  /** Frees the engine. Further turns throw. */
  async close(): Promise<void> {
    await closeAnswering(this.#answering);
    await this.#engine.close();
  }

  /** A refusal to exchange adapters, with what goes on answering. */
  #unchanged(error: AnecdoteError): GenerateError {
    const { message, remedy } = error;
    const problem = remedy === undefined ? message : message.slice(0, -remedy.length).trimEnd();
    const names = this.#adapters.map(({ folder }) => folder).join(", ");
    const answering = names === "" ? "the model alone" : `the model with ${names}`;
    return new GenerateError(
      "generate.chat.adapters",
      `${problem}. Nothing was changed: answers go on from ${answering}`,
      { ...(remedy !== undefined && { remedy }), cause: error },
    );
  }

  get #systemMessages(): readonly ChatMessage[] {
    return this.#system === undefined ? [] : [{ role: "system", content: this.#system }];
  }

  #upToQuestion(): readonly ChatMessage[] {
    return this.#messages.slice(
      0,
      this.#messages.findLastIndex(({ role }) => role === "user"),
    );
  }

  #lastQuestion(): ChatMessage {
    const question = this.#messages.findLast(({ role }) => role === "user");
    if (question !== undefined) return question;
    throw new GenerateError("generate.chat.empty", "nothing was asked yet");
  }

  async #answer(
    messages: readonly ChatMessage[],
    options: GenerateOptions,
  ): Promise<GeneratedText> {
    const tokens = this.#tokensOf(messages, options.maxTokens);
    const written = await this.#session.continueTokens(tokens, {
      onNote: (message) => this.#options.onNote?.(message),
      ...options,
      stop: [...(options.stop ?? []), ...this.#turnEnd.stop],
      furtherEnds: this.#turnEnd.tokenIds,
    });
    this.#messages = [...messages, { role: "assistant", content: written.text }];
    // Where no text was asked to end it, it was the template's, and that is how a turn ends by itself.
    const isTurnEnd = written.stopReason === "stop string" && (options.stop ?? []).length === 0;
    return isTurnEnd ? { ...written, stopReason: "end of text" } : written;
  }

  /** The conversation as the model reads it, without its oldest turns where they leave no room for an answer. */
  #tokensOf(messages: readonly ChatMessage[], answerLength: number): readonly number[] {
    const contextLength = cachedContextLength(this.#answering.model.config);
    const room = contextLength - Math.min(answerLength, Math.floor(contextLength / 4));
    let kept = messages;
    for (;;) {
      const { ids } = this.#template.render([...this.#systemMessages, ...kept]);
      const next = kept.findIndex(({ role }, index) => index > 0 && role === "user");
      if (ids.length <= room || next < 0) {
        if (kept.length < messages.length) {
          this.#options.onNote?.(
            `the conversation is longer than the model's context: its first ${messages.length - kept.length} messages are not read`,
          );
        }
        return Array.from(ids);
      }
      kept = kept.slice(next);
    }
  }
}

/** The template that is given, the one that an adapter was trained with, or the model's. */
function templateOf(
  folder: string,
  described: DescribedTokenizer,
  { chatTemplate, adapters = [], onNote }: ChatOptions,
): ChatTemplate {
  if (chatTemplate !== undefined) {
    const source = chatTemplateSource(chatTemplate);
    return new ChatTemplate(withChatTemplate(described, source), chatTemplate);
  }
  const owner = withTemplateOf(
    described,
    adapters.map((adapter) => adapter.folder),
  );
  if (owner.folder !== undefined && hasChatTemplate(described))
    onNote?.(`the chat template is that of ${owner.folder}, with which the adapter was trained`);
  return new ChatTemplate(owner.described, owner.folder ?? folder);
}

async function answeringWith(
  folder: string,
  adapters: readonly AdapterSource[],
  engine: Engine,
  { tokenizer }: DescribedTokenizer,
  format: WeightFormat | undefined,
): Promise<Answering> {
  const opened = openInFormat(folder, adapters, format);
  const { model } = opened;
  requireRows(tokenizer.vocabularySize, model.config.vocabularySize);
  const weights = await loadWeightPlan(engine, opened);
  const generation = readGenerationConfig(folder, model.config);
  return {
    ...{ model, weights },
    generator: new Generator({ engine, model, tokenizer, weights, generation }),
  };
}

async function closeAnswering({ generator, weights }: Answering): Promise<void> {
  await generator.close();
  await weights.close();
}
