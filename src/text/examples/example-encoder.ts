import type { ChatMessage, ChatTool } from "../chat-messages.ts";
import type { ChatSpan, ChatTemplate } from "../chat-template.ts";
import type { DocumentFrame } from "../document-frame.ts";
import { TextError } from "../errors.ts";
import type { Tokenizer } from "../tokenizer.ts";
import { alpacaPrompt } from "./example.ts";
import type { Example, Message, Side } from "./example.ts";

/** An example as tokens. */
export interface EncodedExample {
  /** [n]. */
  readonly ids: readonly number[];
  /** `[n]`: whether the token is a target that counts; the first one never is. */
  readonly isLearned: readonly boolean[];
}

/** How examples become tokens. */
export interface ExampleEncoderOptions {
  readonly tokenizer: Tokenizer;
  /** What stands around a text, or a prompt with its completion. */
  readonly frame: DocumentFrame;
  /** Only completions, and the assistant's messages, are learned. */
  readonly masksPrompt: boolean;
  /** Absent where the model has no chat template: conversations are refused. */
  readonly chat?: ChatTemplate | undefined;
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
    case "preferences":
      return encodePreference(example, options, where);
  }
}

/**
 * Two answers to one prompt, the better one first. What both begin with is learned of neither: its parts of the two losses
 * are the same number. Throws `TextError` for answers that the template does not put behind the prompt as they are.
 */
function encodePreference(
  { prompt, chosen, rejected }: Extract<Example, { readonly form: "preferences" }>,
  given: ExampleEncoderOptions,
  where: string,
): readonly EncodedExample[] {
  const options = { ...given, masksPrompt: true };
  const sides = [chosen, rejected];
  const encoded = (asked: Side, answer: Side): EncodedExample => {
    const found = encodePair(asked, answer, options, where);
    const [one] = found;
    if (one !== undefined && found.length === 1) return one;
    throw new TextError(
      "text.preference.turns",
      `${where}: an answer of ${found.length} messages is written by the chat template otherwise than behind one prompt`,
      {
        remedy: "Give the last message alone as chosen and rejected, all before it as the prompt.",
      },
    );
  };
  if (prompt === undefined && typeof chosen === "string" && typeof rejected === "string")
    return [chosen, rejected].map((answer) => encodeText(answer, options));
  const conversations = sides.map((side) => (typeof side === "string" ? undefined : side));
  const [better, worse] = conversations;
  if (better === undefined || worse === undefined || !beginsWithPrompt(prompt, better, worse))
    return sides.map((answer) => encoded(prompt ?? "", answer));
  let shared = 0;
  while (shared < Math.min(better.length, worse.length) && isSame(better[shared], worse[shared]))
    shared++;
  // Two equal conversations: the last message is what is compared.
  const last = Math.min(shared, Math.min(better.length, worse.length) - 1);
  return [better, worse].map((messages) => encoded(messages.slice(0, last), messages.slice(last)));
}

/** Whether answers are whole conversations: there is no prompt, or it is the first message of both. */
function beginsWithPrompt(
  prompt: Side | undefined,
  ...conversations: readonly (readonly Message[])[]
): boolean {
  if (prompt === undefined) return true;
  return (
    typeof prompt === "string" &&
    conversations.every((messages) =>
      messages.some(({ role, fields }) => role !== "assistant" && fields["content"] === prompt),
    )
  );
}

function isSame(a: Message | undefined, b: Message | undefined): boolean {
  return JSON.stringify(a?.fields) === JSON.stringify(b?.fields);
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
          "Give one: --chat-template plain, chatml, or a .jinja file; or write prompts and completions as text.",
      },
    );
  }
  const isLearned = ({ role, isLearned: isMeant }: Message): boolean =>
    isMeant && (!masksPrompt || role === "assistant");
  const silent = messages.findIndex((message) => !masksPrompt && !isLearned(message));
  if (silent >= 0 && messages[silent]?.role !== "assistant") {
    throw new TextError(
      "text.chat.weight",
      `${where}, message ${silent + 1}: only the assistant's messages can be left out one by one, this one is of the role ${messages[silent]?.role}`,
      { remedy: "Leave out all that the assistant does not say: --mask-prompt." },
    );
  }
  const fields = messages.map((message) => message.fields as ChatMessage);
  const options = tools === undefined ? {} : { tools: tools as readonly ChatTool[] };
  const learned = (message: number): boolean => {
    const one = messages[message];
    return one !== undefined && isLearned(one);
  };
  try {
    const { ids, spans } = chat.renderTurns(fields, options);
    const chosen = spans.filter(({ message }) => learned(message) === masksPrompt);
    return [learnedIn(ids, (index) => isWithin(chosen, index) === masksPrompt)];
  } catch (error) {
    if (!(error instanceof TextError)) throw error;
    if (error.code !== "text.chat.turns" || !masksPrompt) throw placed(error, where);
  }
  return [...messages.keys()].filter(learned).map((message) => {
    try {
      const { ids, spans } = chat.renderLastTurn(fields.slice(0, message + 1), options);
      return learnedIn(ids, (index) => isWithin(spans, index));
    } catch (error) {
      throw error instanceof TextError ? placed(error, where) : error;
    }
  });
}

/** The error with the row it is of; its words hold the remedy. */
function placed(error: TextError, where: string): TextError {
  return new TextError(error.code, `${where}: ${error.message}`, { cause: error });
}

function isWithin(spans: readonly ChatSpan[], index: number): boolean {
  return spans.some(({ start, end }) => index >= start && index < end);
}

function learnedIn(ids: Uint32Array, isLearned: (index: number) => boolean): EncodedExample {
  return {
    ids: Array.from(ids),
    isLearned: Array.from(ids, (_, index) => index > 0 && isLearned(index)),
  };
}
