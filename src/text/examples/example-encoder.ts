import type { DocumentFrame } from "../document-frame.ts";
import { TextError } from "../errors.ts";
import type { Tokenizer } from "../tokenizer.ts";
import { alpacaPrompt } from "./example.ts";
import type { Example, Message, Side } from "./example.ts";

/** An example as tokens. */
export interface EncodedExample {
  /** [n]. */
  readonly ids: readonly number[];
  /** [n]: whether the token is a target that counts; the first one never is. */
  readonly isLearned: readonly boolean[];
}

/** Writes a conversation by the model's own template. */
export interface ChatEncoder {
  /**
   * Ids of a conversation; with `isAnswered` false they end with what an answer of the assistant begins behind. Throws
   * `TextError` where the template refuses the conversation.
   */
  readonly encode: (
    messages: readonly Readonly<Record<string, unknown>>[],
    options: { readonly tools?: readonly unknown[]; readonly isAnswered: boolean },
  ) => readonly number[];
}

export interface ExampleEncoderOptions {
  readonly tokenizer: Tokenizer;
  /** What stands around a text, or a prompt with its completion. */
  readonly frame: DocumentFrame;
  /** Only completions, and the assistant's messages, are learned. */
  readonly masksPrompt: boolean;
  /** Absent where the model has no chat template: conversations are refused. */
  readonly chat?: ChatEncoder | undefined;
  /** Prompts and completions are written as a user's message and its answer. */
  readonly writesPairsAsChat: boolean;
}

/** Ids with whether they are learned, put together from pieces. */
class Pieces {
  readonly ids: number[] = [];
  readonly isLearned: boolean[] = [];

  add(ids: Iterable<number>, isLearned: boolean): this {
    for (const id of ids) {
      this.ids.push(id);
      this.isLearned.push(isLearned && this.ids.length > 1);
    }
    return this;
  }
}

/**
 * An example as tokens: one sequence, or one for each learned answer of a conversation whose template writes earlier
 * answers otherwise than the last. Throws `TextError` for a conversation without a template, and for what the template
 * refuses.
 */
export function encodeExample(
  example: Example,
  options: ExampleEncoderOptions,
  where: string,
): readonly EncodedExample[] {
  switch (example.form) {
    case "text":
      return [encodeText(example.text, options)];
    case "completions":
      return encodePair(example.prompt, example.completion, options, where);
    case "alpaca": {
      const { instruction, input, output } = example;
      if (!options.writesPairsAsChat)
        return [encodeTexts(alpacaPrompt(instruction, input), output, options)];
      const asked = input === "" ? instruction : `${instruction}\n\n${input}`;
      return encodePair(asked, output, options, where);
    }
    case "chat":
      return encodeChat(example.messages, example.tools, options, where);
  }
}

function encodeText(text: string, { tokenizer, frame }: ExampleEncoderOptions): EncodedExample {
  return new Pieces()
    .add([...frame.lead, ...frame.before], true)
    .add(tokenizer.encode(text), true)
    .add(frame.after, true);
}

/** The two are encoded apart, as they are when the completion is written behind the prompt. */
function encodeTexts(
  prompt: string,
  completion: string,
  { tokenizer, frame, masksPrompt }: ExampleEncoderOptions,
): EncodedExample {
  const asked = tokenizer.encode(prompt);
  const place = asked.length === 0 ? "start" : "continues";
  return new Pieces()
    .add([...frame.lead, ...frame.before], !masksPrompt)
    .add(asked, !masksPrompt)
    .add(tokenizer.encode(completion, { place }), true)
    .add(frame.after, true);
}

function encodePair(
  prompt: Side,
  completion: Side,
  options: ExampleEncoderOptions,
  where: string,
): readonly EncodedExample[] {
  const isText = typeof prompt === "string" && typeof completion === "string";
  if (isText && !options.writesPairsAsChat) return [encodeTexts(prompt, completion, options)];
  const asked = asMessages(prompt, "user", !options.masksPrompt);
  const answer = asMessages(completion, "assistant", true);
  return encodeChat([...asked, ...answer], undefined, options, where);
}

/** Of a prompt, an assistant's messages are learned as little as others are. */
function asMessages(side: Side, role: string, isLearned: boolean): readonly Message[] {
  return typeof side === "string"
    ? [{ role, isLearned, fields: { role, content: side } }]
    : side.map((message) => ({ ...message, isLearned: message.isLearned && isLearned }));
}

function encodeChat(
  messages: readonly Message[],
  tools: readonly unknown[] | undefined,
  { chat, masksPrompt }: ExampleEncoderOptions,
  where: string,
): readonly EncodedExample[] {
  if (chat === undefined) {
    throw new TextError(
      "text.chat.template",
      `${where}: it is a conversation, and the model has no chat template`,
      {
        remedy:
          "Put a chat_template.jinja into the model's folder; or write prompts and completions as text.",
      },
    );
  }
  const encode = (count: number, isAnswered: boolean): readonly number[] => {
    try {
      return chat.encode(
        messages.slice(0, count).map(({ fields }) => fields),
        { isAnswered, ...(tools !== undefined && { tools }) },
      );
    } catch (error) {
      if (!(error instanceof TextError)) throw error;
      throw new TextError(error.code, `${where}: ${error.message}`, { cause: error });
    }
  };
  const isLearned = ({ role, isLearned: isMeant }: Message): boolean =>
    isMeant && (!masksPrompt || role === "assistant");
  const whole = encode(messages.length, true);
  if (messages.every(isLearned)) return [new Pieces().add(whole, true)];
  const spans = spansOf(messages, isLearned, masksPrompt, { encode, whole });
  if (spans !== undefined) return [learnedIn(whole, spans)];
  return [...messages.keys()]
    .filter((index) => {
      const message = messages[index];
      return message !== undefined && isLearned(message);
    })
    .map((index) => answerAlone(index, encode, where));
}

type Span = readonly [start: number, end: number];

interface Rendering {
  readonly encode: (count: number, isAnswered: boolean) => readonly number[];
  readonly whole: readonly number[];
}

/**
 * Where the learned messages stand, the assistant's without what stands before an answer while it is written; nothing
 * where the conversation up to a message is no beginning of the whole.
 */
function spansOf(
  messages: readonly Message[],
  isLearned: (message: Message) => boolean,
  masksPrompt: boolean,
  { encode, whole }: Rendering,
): readonly Span[] | undefined {
  const spans: Span[] = [];
  for (const [index, message] of messages.entries()) {
    if (!isLearned(message)) continue;
    const isAnswer = message.role === "assistant" && masksPrompt;
    const before = index === 0 && !isAnswer ? [] : encode(index, !isAnswer);
    const after = index + 1 === messages.length ? whole : encode(index + 1, true);
    if (!begins(whole, before) || !begins(whole, after)) return undefined;
    spans.push([before.length, after.length]);
  }
  return spans;
}

function begins(whole: readonly number[], beginning: readonly number[]): boolean {
  return beginning.length <= whole.length && beginning.every((id, index) => whole[index] === id);
}

function learnedIn(whole: readonly number[], spans: readonly Span[]): EncodedExample {
  return {
    ids: whole,
    isLearned: whole.map(
      (_, index) => index > 0 && spans.some(([start, end]) => index >= start && index < end),
    ),
  };
}

/** A conversation up to one answer, which alone is learned. */
function answerAlone(index: number, encode: Rendering["encode"], where: string): EncodedExample {
  const before = encode(index, false);
  const whole = encode(index + 1, true);
  if (begins(whole, before)) return learnedIn(whole, [[before.length, whole.length]]);
  throw new TextError(
    "text.chat.prefix",
    `${where}: the chat template writes what stands before message ${index + 1} otherwise once it is answered, so that what is to be learned cannot be told from what is asked`,
    {
      remedy:
        "Learn whole conversations, without --mask-prompt; or give the model another chat template.",
    },
  );
}
