import { TextError } from "./errors.ts";

/** A piece of a message's content, as OpenAI's API has them; only texts are taken. */
export interface ChatPart {
  readonly type: string;
  readonly text?: string;
  readonly [key: string]: unknown;
}

/** One message of a conversation. Templates may read more of it: `name`, `tool_calls`, `reasoning_content`. */
export interface ChatMessage {
  readonly role: string;
  readonly content?: string | readonly ChatPart[] | null;
  readonly [key: string]: unknown;
}

/** A function that a model may call, as OpenAI's API describes it. */
export type ChatTool = Readonly<Record<string, unknown>>;

/**
 * Messages as templates read them: contents as one text each. Throws `TextError` `text.chat.messages` for what is no
 * message and for contents that are no text, by number.
 */
export function plainMessages(messages: readonly ChatMessage[]): readonly ChatMessage[] {
  if (messages.length === 0) throw refused("a conversation needs at least one message");
  return messages.map((message, index) => {
    const { role, content } = message;
    const where = `message ${index + 1}`;
    if (typeof role !== "string" || role === "")
      throw refused(`${where} has no role; roles are system, user, assistant and tool`);
    if (content === undefined || content === null || typeof content === "string") return message;
    if (!Array.isArray(content)) throw refused(`${where} (${role}): its content is no text`);
    const texts = content.map((part: ChatPart) => {
      if (part.type === "text" && typeof part.text === "string") return part.text;
      throw refused(`${where} (${role}): a part of type "${part.type}" is no text`);
    });
    return { ...message, content: texts.join("") };
  });
}

function refused(problem: string): TextError {
  return new TextError("text.chat.messages", problem);
}

/** First and last of the private-use characters, of which one is taken that stands nowhere in a conversation. */
const FIRST_PRIVATE = 0xe000;
const LAST_PRIVATE = 0xf8ff;

/** Keeps spellings of special tokens in texts from becoming those tokens. */
export class TextGuard {
  /** Stands within each spelling; `Tokenizer.encode` is told of it. */
  readonly breaker: string;
  readonly #spelling: RegExp | undefined;

  /** `known`: all that the breaker must differ from. */
  constructor(specialTokens: readonly string[], known: string) {
    let code = FIRST_PRIVATE;
    while (code < LAST_PRIVATE && known.includes(String.fromCharCode(code))) code++;
    this.breaker = String.fromCharCode(code);
    const longestFirst = specialTokens
      .filter((token) => token.length > 1)
      .toSorted((a, b) => b.length - a.length);
    this.#spelling =
      longestFirst.length === 0
        ? undefined
        : new RegExp(longestFirst.map((token) => escapedPattern(token)).join("|"), "gu");
  }

  /** A value with every text in it guarded, keys of objects included. */
  guard<Value>(value: Value): Value {
    return this.#guarded(value) as Value;
  }

  /** The text without its guards. */
  plain(text: string): string {
    return text.replaceAll(this.breaker, "");
  }

  #guarded(value: unknown): unknown {
    if (typeof value === "string") return this.#text(value);
    if (Array.isArray(value)) return value.map((item: unknown) => this.#guarded(item));
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => [this.#text(key), this.#guarded(item)]),
    );
  }

  #text(text: string): string {
    if (this.#spelling === undefined) return text;
    return text.replaceAll(this.#spelling, (token) => {
      const first = String.fromCodePoint(token.codePointAt(0) ?? 0);
      return `${first}${this.breaker}${token.slice(first.length)}`;
    });
  }
}

function escapedPattern(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|/]/g, String.raw`\$&`);
}
