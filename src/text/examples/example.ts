// What a row of data means: a text, a prompt with its completion, a conversation, two answers of which one is better.
import { didYouMean } from "../../util/nearest.ts";
import { TextError } from "../errors.ts";
import { isRecord } from "../../util/is-record.ts";
import { listedFields } from "../text-reader.ts";

/**
 * What rows may hold. alpaca: an instruction, perhaps an input, and an output. preferences: two answers, the better one
 * named first.
 */
export const EXAMPLE_FORMS = ["text", "completions", "chat", "alpaca", "preferences"] as const;
/** What rows hold. */
export type ExampleForm = (typeof EXAMPLE_FORMS)[number];

/**
 * How rows are read. auto: what their fields say; rows of text are one stream. examples: the same, each row of text by
 * itself. stream: text, whatever other fields there are. Others: rows of that form.
 */
export const DATA_FORMATS = ["auto", "examples", "stream", ...EXAMPLE_FORMS] as const;
/** How rows are read. */
export type DataFormat = (typeof DATA_FORMATS)[number];

/** Names of a row's fields where they are not the usual ones. */
export interface FieldNames {
  /** Default: `text`. */
  readonly text?: string | undefined;
  /** Default: `prompt`, in alpaca's form `instruction`. */
  readonly prompt?: string | undefined;
  /** Default: `completion`, in alpaca's form `output`. */
  readonly completion?: string | undefined;
  /** Of alpaca's form. Default: `input`. */
  readonly input?: string | undefined;
  /** Default: `messages`. */
  readonly messages?: string | undefined;
  /** Of pairs of answers. Default: `chosen`. */
  readonly chosen?: string | undefined;
  /** Of pairs of answers. Default: `rejected`. */
  readonly rejected?: string | undefined;
}

/** A message as the chat template gets it, and whether it is learned. */
export interface Message {
  /** `role`, `content`, and whatever else the row has, such as `tool_calls`. */
  readonly fields: Readonly<Record<string, unknown>>;
  readonly role: string;
  /** False where the row says so: `"weight": 0`, or `"train": false`. */
  readonly isLearned: boolean;
}

/** One side of a pair: a text, or messages. */
export type Side = string | readonly Message[];

/** What a row says. */
export type Example =
  | { readonly form: "text"; readonly text: string }
  | { readonly form: "completions"; readonly prompt: Side; readonly completion: Side }
  | {
      readonly form: "alpaca";
      readonly instruction: string;
      readonly input: string;
      readonly output: string;
    }
  | {
      readonly form: "chat";
      readonly messages: readonly Message[];
      /** Descriptions of tools, as the template takes them. */
      readonly tools?: readonly unknown[];
    }
  | {
      readonly form: "preferences";
      /** Absent where both answers begin with it themselves. */
      readonly prompt?: Side;
      readonly chosen: Side;
      readonly rejected: Side;
    };

type Row = Readonly<Record<string, unknown>>;

function shown(value: unknown): string {
  return (JSON.stringify(value) ?? String(value)).slice(0, 60);
}

/** The names under which rows of a form have their fields, those that a row must have first. */
function namesOf(form: ExampleForm, names: FieldNames): readonly string[] {
  switch (form) {
    case "text":
      return [names.text ?? "text"];
    case "completions":
      return [names.prompt ?? "prompt", names.completion ?? "completion"];
    case "alpaca":
      return [names.prompt ?? "instruction", names.completion ?? "output"];
    case "chat":
      return [names.messages ?? "messages"];
    case "preferences":
      return [names.chosen ?? "chosen", names.rejected ?? "rejected"];
  }
}

/** Forms in the order in which a row is held against them. */
const DETECTED: readonly ExampleForm[] = ["preferences", "completions", "alpaca", "chat", "text"];

/** The form of rows that begin with this one; nothing where its fields say none. */
export function formOfRow(value: unknown, names: FieldNames): ExampleForm | undefined {
  if (typeof value === "string") return "text";
  if (!isRecord(value)) return undefined;
  const has = (form: ExampleForm): boolean =>
    namesOf(form, names).every((name) => Object.hasOwn(value, name));
  // A field that somebody named is what is meant.
  if (names.text !== undefined && names.text !== "text" && has("text")) return "text";
  return DETECTED.find(has);
}

/** What to say of a first row whose fields say no form. */
export function noForm(value: unknown, names: FieldNames, where: string): TextError {
  if (!isRecord(value)) {
    return new TextError(
      "text.examples.form",
      `${where}: expected an object such as {"prompt": "...", "completion": "..."}, found ${shown(value)}`,
    );
  }
  const fields = Object.keys(value);
  const wanted = DETECTED.flatMap((one) => namesOf(one, names));
  return new TextError(
    "text.examples.form",
    `${where}: its fields say neither a text, nor a prompt with its completion, nor messages; it has ${listedFields(fields)}.${didYouMean(fields[0] ?? "", wanted)}`,
    {
      remedy:
        "Name the fields: --text-field; --prompt-field and --completion-field; or --messages-field.",
    },
  );
}

/**
 * A row as an example of a form. Throws `TextError` `text.examples.field` for a field that is missing or of another
 * type, naming row and field.
 */
export function exampleOfRow(
  value: unknown,
  form: ExampleForm,
  names: FieldNames,
  where: string,
): Example {
  if (form === "text" && typeof value === "string") return { form, text: value };
  if (!isRecord(value)) {
    throw new TextError(
      "text.examples.field",
      `${where}: expected an object, found ${shown(value)}`,
    );
  }
  const [first = "", second = ""] = namesOf(form, names);
  switch (form) {
    case "text":
      return { form, text: textField(value, first, where) };
    case "completions":
      return {
        form,
        prompt: sideField(value, first, where),
        completion: sideField(value, second, where),
      };
    case "alpaca": {
      const name = names.input ?? "input";
      const isThere = value[name] !== undefined && value[name] !== null;
      return {
        form,
        instruction: textField(value, first, where),
        input: isThere || names.input !== undefined ? textField(value, name, where) : "",
        output: textField(value, second, where),
      };
    }
    case "chat": {
      const tools = jsonField(value["tools"]);
      if (tools !== undefined && tools !== null && !Array.isArray(tools)) {
        throw new TextError(
          "text.examples.field",
          `${where}: "tools" must be a list of tools, found ${shown(tools)}`,
        );
      }
      return {
        form,
        messages: messagesOf(field(value, first, where), `${where}: "${first}"`),
        ...(Array.isArray(tools) && tools.length > 0 && { tools: tools as readonly unknown[] }),
      };
    }
    case "preferences": {
      const name = names.prompt ?? "prompt";
      const isThere = value[name] !== undefined && value[name] !== null;
      return {
        form,
        ...((isThere || names.prompt !== undefined) && { prompt: sideField(value, name, where) }),
        chosen: sideField(value, first, where),
        rejected: sideField(value, second, where),
      };
    }
  }
}

/** Columns of files without nesting hold lists as JSON. */
function jsonField(value: unknown): unknown {
  if (typeof value !== "string" || !/^\s*\[/.test(value)) return value;
  try {
    return JSON.parse(value) as unknown;
  } catch {
    return value;
  }
}

function field(row: Row, name: string, where: string): unknown {
  if (Object.hasOwn(row, name)) return row[name];
  const names = Object.keys(row);
  throw new TextError(
    "text.examples.field",
    `${where}: no field "${name}"; it has ${listedFields(names)}.${didYouMean(name, names)}`,
    { remedy: "All rows of a file are of the form of its first one; give others in another file." },
  );
}

function textField(row: Row, name: string, where: string): string {
  const value = field(row, name, where);
  if (typeof value === "string") return value;
  throw new TextError(
    "text.examples.field",
    `${where}: field "${name}" must be a string, found ${shown(value)}`,
  );
}

function sideField(row: Row, name: string, where: string): Side {
  const value = field(row, name, where);
  if (Array.isArray(value)) return messagesOf(value, `${where}: "${name}"`);
  return textField(row, name, where);
}

function messagesOf(given: unknown, where: string): readonly Message[] {
  const value = jsonField(given);
  if (!Array.isArray(value) || value.length === 0) {
    throw new TextError(
      "text.examples.messages",
      `${where} must be a list of messages such as {"role": "user", "content": "..."}, found ${shown(value)}`,
    );
  }
  return value.map((message: unknown, index) =>
    messageOf(message, `${where}, message ${index + 1}`),
  );
}

function messageOf(value: unknown, where: string): Message {
  const fail = (problem: string): never => {
    throw new TextError("text.examples.messages", `${where}: ${problem}`);
  };
  if (!isRecord(value)) return fail(`expected an object, found ${shown(value)}`);
  const { weight, train, ...fields } = withoutNulls(value);
  const { role, content } = fields;
  if (typeof role !== "string" || role === "")
    return fail(`"role" must be a string such as "user", found ${shown(role)}`);
  const isContent = typeof content === "string" || Array.isArray(content);
  if (!isContent && fields["tool_calls"] === undefined)
    return fail(`"content" must be a string, found ${shown(content)}`);
  if (weight !== undefined && weight !== 0 && weight !== 1)
    return fail(`"weight" must be 0 or 1, found ${shown(weight)}`);
  if (train !== undefined && typeof train !== "boolean")
    return fail(`"train" must be true or false, found ${shown(train)}`);
  return { fields, role, isLearned: weight !== 0 && train !== false };
}

/** Parquet gives all fields that any message has. */
function withoutNulls(row: Row): Row {
  return Object.fromEntries(
    Object.entries(row).filter(([name, value]) => value !== null || name === "content"),
  );
}

/** All that an example says, for a tokenizer that is trained on it. */
export function textsOfExample(example: Example): readonly string[] {
  const side = (value: Side): readonly string[] =>
    typeof value === "string" ? [value] : value.map(({ fields }) => contentOf(fields["content"]));
  switch (example.form) {
    case "text":
      return [example.text];
    case "completions":
      return [...side(example.prompt), ...side(example.completion)];
    case "alpaca":
      return [alpacaPrompt(example.instruction, example.input), example.output];
    case "chat":
      return side(example.messages);
    case "preferences":
      return [...side(example.prompt ?? ""), ...side(example.chosen), ...side(example.rejected)];
  }
}

function contentOf(content: unknown): string {
  return typeof content === "string" ? content : "";
}

/** The prompt that Stanford's Alpaca was trained with, for models without a chat template. */
export function alpacaPrompt(instruction: string, input: string): string {
  return input === ""
    ? `Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n### Instruction:\n${instruction}\n\n### Response:\n`
    : `Below is an instruction that describes a task, paired with an input that provides further context. Write a response that appropriately completes the request.\n\n### Instruction:\n${instruction}\n\n### Input:\n${input}\n\n### Response:\n`;
}
