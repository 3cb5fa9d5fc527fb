import { messageOf } from "../util/errors.ts";
import { didYouMean } from "../util/nearest.ts";
import { TextError } from "./errors.ts";
import { isRecord } from "../util/is-record.ts";

/** A token outside the model's own vocabulary, found in text before anything else happens to it. */
export interface AddedTokenJson {
  readonly id: number;
  readonly content: string;
  readonly single_word: boolean;
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  readonly normalized: boolean;
  readonly special: boolean;
}

/** A part of the pipeline, such as `{"type": "ByteLevel"}`; its other fields depend on the type. */
export interface ComponentJson {
  readonly type: string;
  readonly [field: string]: unknown;
}

/** The `model` of a `tokenizer.json`: kind, vocabulary with ids or scores, merges. */
export interface ModelJson {
  readonly type: string;
  readonly vocab: Readonly<Record<string, number>> | readonly (readonly [string, number])[];
  readonly merges?: readonly (string | readonly [string, string])[];
  readonly [field: string]: unknown;
}

/** A `tokenizer.json` without its vocabulary and merges: how text is taken apart and put together. */
export interface TokenizerFrame extends Omit<TokenizerJson, "model"> {
  readonly model: { readonly type: string; readonly [field: string]: unknown };
}

/** `tokenizer.json`, checked. Field names are Hugging Face's. */
export interface TokenizerJson {
  readonly version: string;
  readonly truncation: null;
  readonly padding: null;
  readonly added_tokens: readonly AddedTokenJson[];
  readonly normalizer: ComponentJson | null;
  readonly pre_tokenizer: ComponentJson | null;
  readonly post_processor: ComponentJson | null;
  readonly decoder: ComponentJson | null;
  readonly model: ModelJson;
}

/** `tokenizer_config.json`: the names of the tokens that have a role, and whatever else the file carries. */
export interface TokenizerConfigJson {
  readonly [field: string]: unknown;
}

/** Vocabularies in use end at about 300,000; a damaged id must not allocate gigabytes. */
const HIGHEST_ID = 2 ** 24 - 1;
const MODEL_TYPES = ["BPE", "Unigram", "WordPiece", "WordLevel"];

type JsonRecord = Record<string, unknown>;

function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  return typeof value === "object" ? "an object" : `the ${typeof value} ${JSON.stringify(value)}`;
}

function fail(where: string, code: string, message: string, remedy?: string): never {
  throw new TextError(
    `text.tokenizer.${code}`,
    `${where}: ${message}`,
    remedy === undefined ? {} : { remedy },
  );
}

function isId(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= HIGHEST_ID;
}

/** Parses JSON, telling the file when it is not. Throws `TextError` `text.tokenizer.json`. */
export function parseJsonObject(text: string, where: string): JsonRecord {
  let value: unknown;
  try {
    value = JSON.parse(text.startsWith("\uFEFF") ? text.slice(1) : text);
  } catch (error) {
    return fail(
      where,
      "json",
      `not JSON: ${messageOf(error)}`,
      "The file may be cut off; fetch it again.",
    );
  }
  return isRecord(value)
    ? value
    : fail(where, "json", `expected an object, found ${kindOf(value)}`);
}

/** The library runs a pattern it does not know as one that matches nothing, which would lose the text. */
function checkPattern(part: JsonRecord, name: string, where: string): void {
  if (part["type"] !== "Split" && part["type"] !== "Replace") return;
  const pattern = part["pattern"];
  const source = isRecord(pattern) ? (pattern["Regex"] ?? pattern["String"]) : undefined;
  if (typeof source !== "string") {
    fail(
      where,
      "shape",
      `${name}.pattern must be {"Regex": "..."} or {"String": "..."}, found ${kindOf(pattern)}`,
    );
  }
}

function component(file: JsonRecord, name: string, where: string): ComponentJson | null {
  const value = file[name] ?? null;
  if (value === null) return null;
  if (!isRecord(value)) {
    return fail(where, "shape", `${name} must be an object or null, found ${kindOf(value)}`);
  }
  const type = value["type"];
  if (typeof type !== "string") {
    return fail(where, "shape", `${name}.type must be a string, found ${kindOf(type)}`);
  }
  checkPattern(value, name, where);
  for (const list of ["normalizers", "pretokenizers", "processors", "decoders"]) {
    const parts = value[list];
    if (!Array.isArray(parts)) continue;
    for (const [index, part] of parts.entries()) {
      component({ [`${name}.${list}[${index}]`]: part }, `${name}.${list}[${index}]`, where);
    }
  }
  return { ...value, type };
}

function flag(entry: JsonRecord, name: string, fallback: boolean): boolean {
  const value = entry[name];
  return typeof value === "boolean" ? value : fallback;
}

function addedTokens(file: JsonRecord, where: string): AddedTokenJson[] {
  const value = file["added_tokens"] ?? [];
  if (!Array.isArray(value))
    return fail(where, "shape", `added_tokens must be an array, found ${kindOf(value)}`);
  return value.map((entry: unknown, index): AddedTokenJson => {
    const at = `added_tokens[${index}]`;
    if (!isRecord(entry))
      return fail(where, "shape", `${at} must be an object, found ${kindOf(entry)}`);
    const { id, content } = entry;
    if (!isId(id))
      return fail(
        where,
        "id",
        `${at}.id must be an integer from 0 to ${HIGHEST_ID}, found ${kindOf(id)}`,
      );
    if (typeof content !== "string" || content === "") {
      return fail(
        where,
        "shape",
        `${at}.content must be a string with at least one character, found ${kindOf(content)}`,
      );
    }
    const special = flag(entry, "special", false);
    return {
      id,
      content,
      single_word: flag(entry, "single_word", false),
      lstrip: flag(entry, "lstrip", false),
      rstrip: flag(entry, "rstrip", false),
      normalized: flag(entry, "normalized", !special),
      special,
    };
  });
}

function checkVocabularyObject(vocab: JsonRecord, where: string): Record<string, number> {
  const tokenOfId: string[] = [];
  for (const token of Object.keys(vocab)) {
    const id = vocab[token];
    if (!isId(id)) {
      return fail(
        where,
        "id",
        `model.vocab[${JSON.stringify(token)}] must be an integer from 0 to ${HIGHEST_ID}, found ${kindOf(id)}`,
      );
    }
    const other = tokenOfId[id];
    if (other !== undefined) {
      return fail(
        where,
        "id",
        `model.vocab gives id ${id} to both ${JSON.stringify(other)} and ${JSON.stringify(token)}`,
      );
    }
    tokenOfId[id] = token;
  }
  // As it is: a copy of a vocabulary takes longer than everything else here.
  return vocab as Record<string, number>;
}

function checkUnigram(vocab: readonly unknown[], where: string): (readonly [string, number])[] {
  return vocab.map((entry, index) => {
    const [token, score]: unknown[] = Array.isArray(entry) ? entry : [];
    if (typeof token !== "string" || typeof score !== "number") {
      return fail(where, "shape", `model.vocab[${index}] must be a pair of a token and its score`);
    }
    return [token, score] as const;
  });
}

/** Merges as pairs. Whether their tokens are in the vocabulary shows where they are looked up (`listedMerges`). */
function checkMerges(model: JsonRecord, where: string): readonly (readonly [string, string])[] {
  const value = model["merges"] ?? [];
  if (!Array.isArray(value))
    return fail(where, "shape", `model.merges must be an array, found ${kindOf(value)}`);
  const isPair = (entry: unknown): boolean =>
    Array.isArray(entry) &&
    entry.length === 2 &&
    typeof entry[0] === "string" &&
    typeof entry[1] === "string";
  if (value.every(isPair)) return value as (readonly [string, string])[];
  return value.map((entry: unknown, index): readonly [string, string] => {
    const parts: unknown[] =
      typeof entry === "string" ? entry.split(" ") : Array.isArray(entry) ? entry : [];
    const [left, right] = parts;
    if (parts.length !== 2 || typeof left !== "string" || typeof right !== "string") {
      return fail(
        where,
        "merge",
        `model.merges[${index}] must be two tokens, found ${JSON.stringify(entry)}`,
      );
    }
    return [left, right];
  });
}

function modelType(model: JsonRecord, where: string): string {
  const { type } = model;
  if (typeof type === "string") {
    if (MODEL_TYPES.includes(type)) return type;
    return fail(
      where,
      "model",
      `model.type ${JSON.stringify(type)} is not known.${didYouMean(type, MODEL_TYPES)}`,
      `Known types are ${MODEL_TYPES.join(", ")}.`,
    );
  }
  if (type !== undefined)
    return fail(where, "model", `model.type must be a string, found ${kindOf(type)}`);
  // Files older than the field are told apart by what they carry.
  if (Array.isArray(model["vocab"])) return "Unigram";
  if (model["merges"] !== undefined) return "BPE";
  return model["continuing_subword_prefix"] === undefined ? "WordLevel" : "WordPiece";
}

function checkModel(file: JsonRecord, where: string): ModelJson {
  const model = file["model"];
  if (model === undefined) {
    return fail(
      where,
      "shape",
      `no field "model".${didYouMean("model", Object.keys(file))}`,
      "Is this tokenizer_config.json or config.json instead of tokenizer.json?",
    );
  }
  if (!isRecord(model))
    return fail(where, "shape", `model must be an object, found ${kindOf(model)}`);
  const type = modelType(model, where);
  const { vocab } = model;
  if (type === "Unigram") {
    if (!Array.isArray(vocab))
      return fail(
        where,
        "shape",
        `model.vocab of a Unigram model must be an array, found ${kindOf(vocab)}`,
      );
    return { ...model, type, vocab: checkUnigram(vocab, where) };
  }
  if (!isRecord(vocab))
    return fail(where, "shape", `model.vocab must be an object, found ${kindOf(vocab)}`);
  const checked = checkVocabularyObject(vocab, where);
  if (type !== "BPE") return { ...model, type, vocab: checked };
  return { ...model, type, vocab: checked, merges: checkMerges(model, where) };
}

/**
 * Checks a parsed `tokenizer.json` and fills in what older files leave out.
 * Throws `TextError` with a code `text.tokenizer.*` naming the field that is wrong.
 */
export function checkTokenizerJson(file: JsonRecord, where: string): TokenizerJson {
  const model = checkModel(file, where);
  const added = addedTokens(file, where);
  const size = Array.isArray(model.vocab) ? model.vocab.length : Object.keys(model.vocab).length;
  if (size + added.length === 0) return fail(where, "empty", "the vocabulary is empty");
  return {
    version: typeof file["version"] === "string" ? file["version"] : "1.0",
    truncation: null,
    padding: null,
    added_tokens: added,
    normalizer: component(file, "normalizer", where),
    pre_tokenizer: component(file, "pre_tokenizer", where),
    post_processor: component(file, "post_processor", where),
    decoder: component(file, "decoder", where),
    model,
  };
}

/** One entry of `added_tokens` for a token such as <|endoftext|>. */
export function specialToken(id: number, content: string): AddedTokenJson {
  return {
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  };
}
