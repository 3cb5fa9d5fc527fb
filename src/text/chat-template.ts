import { BoundedTemplate } from "./bounded-template.ts";
import { plainMessages, TextGuard } from "./chat-messages.ts";
import type { ChatMessage, ChatTool } from "./chat-messages.ts";
import { TextError } from "./errors.ts";
import type { DescribedTokenizer } from "./simple-tokenizers.ts";
import { hasTokenizer } from "./has-tokenizer.ts";
import { loadTokenizer } from "./tokenizer-files.ts";
import { didYouMean } from "../util/nearest.ts";

/** How a conversation is rendered. */
export interface ChatOptions {
  /** Functions that the model may call. */
  readonly tools?: readonly ChatTool[];
  /** Ends with the beginning of an assistant's message, for the model to go on. Default true. */
  readonly addGenerationPrompt?: boolean;
  /** Further variables of the template, such as `enable_thinking`. */
  readonly variables?: Readonly<Record<string, unknown>>;
  /** What the template takes for today. Default: now. */
  readonly now?: Date;
}

/** A conversation as the model reads it. */
export interface RenderedChat {
  readonly text: string;
  /**
   * Ids [length]. Special tokens of the template are single ids, the same characters in a message are text. Begin and
   * end tokens are the template's: nothing is put around them.
   */
  readonly ids: Uint32Array;
}

/** Ids from `start` up to `end` that are one assistant's message with the token that ends it. */
export interface ChatSpan {
  readonly start: number;
  readonly end: number;
  /** Which of the messages it is, from 0. */
  readonly message: number;
}

/** A whole conversation for training. */
export interface RenderedTurns extends RenderedChat {
  /** What the assistant says, in order: what a model learns where the loss is on completions only. */
  readonly spans: readonly ChatSpan[];
}

/** What ends an assistant's message: a text that a model goes on with the next turn behind it. */
export interface TurnEnd {
  /** The special token that the template puts there, where it is one of the tokenizer's. */
  readonly tokenIds: readonly number[];
  /** The text that it puts there where no special token does. */
  readonly stop: readonly string[];
}

/** A model's chat template with its tokenizer. */
export class ChatTemplate {
  readonly #tokenizer: DescribedTokenizer["tokenizer"];
  readonly #templates: ReadonlyMap<string, string>;
  readonly #parsed = new Map<string, BoundedTemplate>();
  readonly #where: string;
  readonly #tokens: Readonly<Record<string, unknown>>;
  readonly #specialTokens: readonly string[];

  /**
   * The template of a tokenizer's files, or `source` in its place. Throws `TextError` `text.chat.none` where there is
   * no template.
   */
  constructor(described: DescribedTokenizer, where: string, source?: string) {
    const { tokenizer, json, config } = described;
    this.#tokenizer = tokenizer;
    this.#where = where;
    this.#templates = source === undefined ? templatesOf(described) : new Map([[DEFAULT, source]]);
    if (this.#templates.size === 0) {
      throw new TextError("text.chat.none", `${where} has no chat template`, {
        remedy:
          "Take a model that was tuned for chat, or give a template: --chat-template FILE, or chat_template.jinja in its folder.",
      });
    }
    this.#tokens = { ...roleTokens(mapOf(described)), ...roleTokens(config) };
    this.#specialTokens = json.added_tokens.flatMap(({ content, special }) =>
      special ? [content] : [],
    );
  }

  /** The template's text, the one for tools first where there is one of its own. */
  get source(): string {
    return this.#templates.get(TOOL_USE) ?? this.#templates.get(DEFAULT) ?? "";
  }

  /**
   * Renders messages. Throws `TextError`: `text.chat.messages` for what is no message, `text.chat.refused` with the
   * template's words, `text.chat.template` and `text.chat.endless` for a template that fails or does not end.
   */
  render(messages: readonly ChatMessage[], options: ChatOptions = {}): RenderedChat {
    const { guard, render } = this.#start(messages, options);
    const rendered = render(messages.length, options.addGenerationPrompt ?? true);
    const { breaker } = guard;
    return { text: guard.plain(rendered), ids: this.#tokenizer.encode(rendered, { breaker }) };
  }

  /**
   * Renders a whole conversation, and tells which ids are the assistant's: encoded so that what stands before each is
   * what `render` gives the model to go on from. Throws what `render` throws, and `text.chat.turns` for a template
   * that changes earlier messages once others follow, so that nobody can say which tokens a message has.
   */
  renderTurns(messages: readonly ChatMessage[], options: ChatOptions = {}): RenderedTurns {
    const { guard, render, plain } = this.#start(messages, options);
    const whole = render(messages.length, false);
    const cuts: { readonly start: number; readonly end: number; readonly message: number }[] = [];
    let done = 0;
    for (const [message, { role }] of plain.entries()) {
      if (role !== "assistant") continue;
      // A conversation may begin with the assistant; some templates refuse to render no messages at all.
      const before = message === 0 ? "" : render(message, true);
      const until = render(message + 1, false);
      const isSteady = whole.startsWith(before) && whole.startsWith(until);
      if (!isSteady || before.length < done || until.length < before.length) {
        throw new TextError(
          "text.chat.turns",
          `${this.#where}: the chat template renders message ${message + 1} otherwise once others follow it, so its tokens cannot be told`,
          { remedy: "Train on the last message only, or give a template that keeps messages." },
        );
      }
      cuts.push({ start: before.length, end: until.length, message });
      done = until.length;
    }
    return { text: guard.plain(whole), ...this.#encodeCut(whole, cuts, guard.breaker) };
  }

  /**
   * As `renderTurns` of a conversation whose last message is the assistant's and the only one that is told: whatever the
   * template makes of those before, it stands behind what `render` gives the model to go on from.
   */
  renderLastTurn(messages: readonly ChatMessage[], options: ChatOptions = {}): RenderedTurns {
    const { guard, render, plain } = this.#start(messages, options);
    const message = plain.length - 1;
    const before = message === 0 ? "" : render(message, true);
    const whole = render(plain.length, false);
    if (!whole.startsWith(before)) {
      throw new TextError(
        "text.chat.turns",
        `${this.#where}: the chat template renders what stands before message ${message + 1} otherwise once it is answered, so that the answer cannot be told from it`,
        { remedy: "Give a template that keeps messages." },
      );
    }
    const cut = { start: before.length, end: whole.length, message };
    return { text: guard.plain(whole), ...this.#encodeCut(whole, [cut], guard.breaker) };
  }

  /**
   * What the template puts behind an assistant's message. Models end a text with a token of their own, which need not be
   * the one that ends a turn (`<|endoftext|>`, `<|im_end|>`), or the tokenizer may have none for it. Nothing where the
   * template puts nothing there, or renders no such conversation.
   */
  turnEnd(): TurnEnd {
    const none = { tokenIds: [], stop: [] };
    let text: string;
    try {
      const { guard, render } = this.#start(
        [
          { role: "user", content: TURN_QUESTION },
          { role: "assistant", content: TURN_ANSWER },
        ],
        {},
      );
      text = guard.plain(render(2, false));
    } catch (error) {
      if (error instanceof TextError) return none;
      throw error;
    }
    const at = text.lastIndexOf(TURN_ANSWER);
    const end = text.slice(at + TURN_ANSWER.length).trim();
    if (at < 0 || end === "") return none;
    const special = this.#specialTokens.filter((token) => token !== "" && end.startsWith(token));
    const [id] = special.length === 0 ? [] : this.#tokenizer.encode(end, { place: "continues" });
    if (id !== undefined) return { tokenIds: [id], stop: [] };
    const [line = ""] = end.split("\n");
    return { tokenIds: [], stop: [line] };
  }

  #encodeCut(
    text: string,
    cuts: readonly ChatSpan[],
    breaker: string,
  ): { readonly ids: Uint32Array; readonly spans: readonly ChatSpan[] } {
    const ids: number[] = [];
    const spans: ChatSpan[] = [];
    let at = 0;
    const encodeUpTo = (end: number): void => {
      const place = at === 0 ? "start" : "continues";
      for (const id of this.#tokenizer.encode(text.slice(at, end), { breaker, place }))
        ids.push(id);
      at = end;
    };
    for (const { start, end, message } of cuts) {
      encodeUpTo(start);
      const first = ids.length;
      encodeUpTo(end);
      spans.push({ start: first, end: ids.length, message });
    }
    encodeUpTo(text.length);
    return { ids: Uint32Array.from(ids), spans };
  }

  /** What is the same for all renderings of one conversation. */
  #start(messages: readonly ChatMessage[], options: ChatOptions): Rendering {
    const { tools = [], variables = {}, now = new Date() } = options;
    const template = this.#templateFor(tools.length > 0);
    const plain = plainMessages(messages);
    const known = JSON.stringify([plain, tools, variables, [...this.#templates.values()]]);
    const guard = new TextGuard(this.#specialTokens, known);
    const guarded = guard.guard(plain);
    const others = {
      ...this.#tokens,
      ...guard.guard(variables),
      ...(tools.length > 0 && { tools: guard.guard(tools) }),
    };
    return {
      guard,
      plain,
      render: (count, addGenerationPrompt) =>
        template.render(
          {
            ...others,
            messages: guarded.slice(0, count),
            add_generation_prompt: addGenerationPrompt,
          },
          now,
        ),
    };
  }

  #templateFor(hasTools: boolean): BoundedTemplate {
    const name = hasTools && this.#templates.has(TOOL_USE) ? TOOL_USE : DEFAULT;
    const source = this.#templates.get(name);
    if (source === undefined) {
      const names = [...this.#templates.keys()];
      throw new TextError(
        "text.chat.none",
        `${this.#where} has no chat template "${name}".${didYouMean(name, names)} Templates: ${names.join(", ")}`,
      );
    }
    const parsed = this.#parsed.get(name) ?? new BoundedTemplate(source, this.#where);
    this.#parsed.set(name, parsed);
    return parsed;
  }
}

interface Rendering {
  readonly guard: TextGuard;
  readonly plain: readonly ChatMessage[];
  /** The first messages, guards included. */
  readonly render: (count: number, addGenerationPrompt: boolean) => string;
}

/** Whether a tokenizer's files hold a chat template. */
export function hasChatTemplate(described: DescribedTokenizer): boolean {
  return templatesOf(described).size > 0;
}

/** What a folder's chat template is, the tokenizer's own where the folder has none. */
export interface TemplateOwner {
  readonly described: DescribedTokenizer;
  /** Whose template it is, where it differs from the tokenizer's own. */
  readonly folder: string | undefined;
}

/**
 * The tokenizer with the chat template of the first of some adapters' folders that holds one: adapters were trained
 * with it.
 */
export function withTemplateOf(
  described: DescribedTokenizer,
  folders: readonly string[],
): TemplateOwner {
  const own = templatesOf(described);
  for (const folder of folders) {
    if (!hasTokenizer(folder)) continue;
    const templates = templatesOf(loadTokenizer(folder));
    const source = templates.get(DEFAULT);
    if (source === undefined) continue;
    return source === own.get(DEFAULT)
      ? { described, folder: undefined }
      : { described: withChatTemplate(described, source), folder };
  }
  return { described, folder: undefined };
}

/** The tokenizer with a chat template in place of its own, kept beside it wherever it is saved. */
export function withChatTemplate(
  described: DescribedTokenizer,
  source: string,
): DescribedTokenizer {
  return { ...described, companions: { ...described.companions, [FILE]: source } };
}

/** Words that no template writes itself. */
const TURN_QUESTION = "Whereabouts?";
const TURN_ANSWER = "Hereabouts.";

const DEFAULT = "default";
const TOOL_USE = "tool_use";
const FILE = "chat_template.jinja";

/** Templates by name: of `chat_template.jinja`, or else of `tokenizer_config.json`. */
function templatesOf({ config, companions }: DescribedTokenizer): ReadonlyMap<string, string> {
  const file = companions?.[FILE];
  if (file !== undefined) return new Map([[DEFAULT, file]]);
  const given = config["chat_template"];
  if (typeof given === "string") return new Map([[DEFAULT, given]]);
  const templates = new Map<string, string>();
  if (!Array.isArray(given)) return templates;
  for (const entry of given as readonly unknown[]) {
    if (typeof entry !== "object" || entry === null) continue;
    const { name, template } = entry as { readonly name?: unknown; readonly template?: unknown };
    if (typeof name === "string" && typeof template === "string") templates.set(name, template);
  }
  return templates;
}

const ROLES = ["bos", "eos", "unk", "pad", "sep", "cls", "mask"].map((name) => `${name}_token`);

/** The spellings of tokens with a role, as templates read them. */
function roleTokens(config: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const tokens: Record<string, unknown> = {};
  for (const role of ROLES) {
    const given = config[role];
    const content =
      typeof given === "object" && given !== null && "content" in given ? given.content : given;
    if (typeof content === "string") tokens[role] = content;
  }
  return tokens;
}

function mapOf({ companions }: DescribedTokenizer): Readonly<Record<string, unknown>> {
  const text = companions?.["special_tokens_map.json"];
  return text === undefined ? {} : (JSON.parse(text) as Readonly<Record<string, unknown>>);
}

/** The chat template of a model folder. Throws `TextError` where it has none, or no tokenizer. */
export function openChatTemplate(folder: string, source?: string): ChatTemplate {
  return new ChatTemplate(loadTokenizer(folder), folder, source);
}

/** Renders a conversation as the model of a folder reads it; for more than one, `openChatTemplate`. */
export function renderChat(
  folder: string,
  messages: readonly ChatMessage[],
  tools: readonly ChatTool[] = [],
): RenderedChat {
  return openChatTemplate(folder).render(messages, { tools });
}
