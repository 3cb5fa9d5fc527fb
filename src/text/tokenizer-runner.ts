import { createHash } from "node:crypto";
import { Tokenizer as HubTokenizer } from "@huggingface/tokenizers";
import { messageOf } from "../util/errors.ts";
import { bytesOfSpelling, GPT2_SPLIT, spellBytes } from "./byte-level.ts";
import { TextError } from "./errors.ts";
import { byteStreamDecoder, windowStreamDecoder } from "./stream-decoder.ts";
import type {
  AddedTokenJson,
  ComponentJson,
  TokenizerConfigJson,
  TokenizerJson,
} from "./tokenizer-json.ts";
import type { SpecialTokenIds, Tokenizer } from "./tokenizer.ts";

/**
 * How to cut text into words that the model encodes independently of each other.
 * Where it exists, ids are remembered by word, which makes large texts some twenty times faster.
 */
interface WordSplit {
  split(text: string): readonly string[];
  /** Spelling of a word in the model's alphabet. */
  spell(word: string): string;
  canCutAt(text: string, index: number): boolean;
  /** Whether cuts may fall where there is no white space, and so into an added token. */
  readonly cutsInsideWords: boolean;
}

const WORDS_REMEMBERED = 1 << 18;

/** Between a character that is not white space and a space or line feed followed by one that is not. */
function isWordGap(text: string, index: number): boolean {
  const isBlank = (at: number): boolean => /\s/u.test(text.charAt(at));
  if (index <= 0 || index >= text.length) return true;
  if (text.charAt(index) === " ")
    return !isBlank(index - 1) && index + 1 < text.length && !isBlank(index + 1);
  return text.charAt(index - 1) === "\n" && index >= 2 && !isBlank(index - 2) && !isBlank(index);
}

function isLowSurrogate(text: string, index: number): boolean {
  const unit = text.charCodeAt(index);
  return unit >= 0xdc00 && unit <= 0xdfff;
}

function isByteLevel(component: ComponentJson, useRegex: boolean): boolean {
  return (
    component.type === "ByteLevel" &&
    component["add_prefix_space"] === false &&
    (component["use_regex"] ?? true) === useRegex
  );
}

function isComponent(value: unknown): value is ComponentJson {
  return (
    typeof value === "object" && value !== null && "type" in value && typeof value.type === "string"
  );
}

const CHECKED_EACH_SIDE = 64;

function chainOfSplits(json: TokenizerJson, splits: readonly ComponentJson[]): WordSplit {
  const { pre_tokenizer: chain } = new HubTokenizer(
    { ...json, pre_tokenizer: { type: "Sequence", pretokenizers: splits } },
    {},
  );
  const split = (text: string): string[] => chain?.pre_tokenize(text) ?? [text];
  return {
    split,
    spell: spellBytes,
    cutsInsideWords: false,
    canCutAt(text, index) {
      if (!isWordGap(text, index)) return false;
      // The pattern is the file's own, so the gap is tried out on the text around it.
      let before = text.slice(Math.max(0, index - CHECKED_EACH_SIDE), index);
      if (isLowSurrogate(before, 0)) before = before.slice(1);
      let after = text.slice(index, index + CHECKED_EACH_SIDE);
      if (isLowSurrogate(text, index + CHECKED_EACH_SIDE)) after = after.slice(0, -1);
      const whole = split(before + after);
      const apart = [...split(before), ...split(after)];
      return whole.length === apart.length && whole.every((piece, at) => piece === apart[at]);
    },
  };
}

function chooseWordSplit(json: TokenizerJson): WordSplit | undefined {
  const { model, pre_tokenizer: before, normalizer } = json;
  if (model.type !== "BPE" || model["fuse_unk"] === true || model["continuing_subword_prefix"])
    return undefined;
  if (model["end_of_word_suffix"]) return undefined;
  const isUnicodeForm = normalizer !== null && /^NF(K?)[CD]$/.test(normalizer.type);
  if (normalizer !== null && !isUnicodeForm) return undefined;
  const stripping = json.added_tokens.some((token) => token.lstrip || token.rstrip);
  const normalized = normalizer !== null && json.added_tokens.some((token) => token.normalized);
  if (stripping || normalized) return undefined;

  const byteLevelOnly = before !== null && isByteLevel(before, false);
  if (model.merges?.length === 0 && (byteLevelOnly || isCharacterSplit(before))) {
    return {
      split: (text) => Array.from(text),
      spell: byteLevelOnly ? spellBytes : (word) => word,
      cutsInsideWords: true,
      canCutAt: (text, index) =>
        !isLowSurrogate(text, index) && (!isUnicodeForm || isWordGap(text, index)),
    };
  }
  if (before === null) return undefined;
  if (isByteLevel(before, true)) {
    return {
      split: (text) => text.match(GPT2_SPLIT) ?? [],
      spell: spellBytes,
      canCutAt: isWordGap,
      cutsInsideWords: false,
    };
  }
  const parts: unknown = before["pretokenizers"];
  if (before.type !== "Sequence" || !Array.isArray(parts)) return undefined;
  const components = parts.filter(isComponent);
  const last = components.at(-1);
  const splits = components.slice(0, -1);
  if (last === undefined || components.length !== parts.length || !isByteLevel(last, false))
    return undefined;
  if (splits.length === 0 || splits.some((part) => part.type !== "Split")) return undefined;
  return chainOfSplits(json, splits);
}

/** The split that the character tokenizer writes: every character alone. */
export const CHARACTER_SPLIT = {
  type: "Split",
  pattern: { Regex: "[\\s\\S]" },
  behavior: "Isolated",
  invert: false,
} as const;

function isCharacterSplit(component: ComponentJson | null): boolean {
  return component !== null && JSON.stringify(component) === JSON.stringify(CHARACTER_SPLIT);
}

function contentOf(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  if (
    typeof value === "object" &&
    value !== null &&
    "content" in value &&
    typeof value.content === "string"
  ) {
    return value.content;
  }
  return undefined;
}

const END_NAMES = ["<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<|eot_id|>", "<|im_end|>"];
const BEGIN_NAMES = ["<|begin_of_text|>", "<s>", "<bos>"];
const PADDING_NAMES = ["<|pad|>", "<pad>", "[PAD]", "<|finetune_right_pad_id|>"];
const UNKNOWN_NAMES = ["<|unknown|>", "<unk>", "[UNK]"];

function escapePattern(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");
}

/** Alternatives in order of length, so that the longest token at a place wins. */
function patternOf(added: readonly AddedTokenJson[]): RegExp | undefined {
  if (added.length === 0) return undefined;
  const contents = added.map((token) => token.content).sort((a, b) => b.length - a.length);
  return new RegExp(`(${contents.map(escapePattern).join("|")})`, "u");
}

class RunningTokenizer implements Tokenizer {
  readonly modelType: string;
  readonly vocabularySize: number;
  readonly special: SpecialTokenIds;
  readonly fingerprint: string;
  readonly encodesInPieces: boolean;
  readonly #hub: HubTokenizer;
  readonly #words: WordSplit | undefined;
  readonly #normalize: ((text: string) => string) | undefined;
  readonly #idOf: Map<string, number>;
  readonly #tokens: readonly (string | undefined)[];
  readonly #addedIds = new Map<string, number>();
  readonly #addedPattern: RegExp | undefined;
  readonly #addedToKeepWhole: readonly string[];
  readonly #specialIds: ReadonlySet<number>;
  readonly #bytes: readonly (Uint8Array | undefined)[] | undefined;
  #memory = new Map<string, Uint32Array>();

  constructor(json: TokenizerJson, config: TokenizerConfigJson, hub: HubTokenizer) {
    const model = hub.model;
    if (model === null) throw new TextError("text.tokenizer.model", "the tokenizer has no model");
    this.#hub = hub;
    this.modelType = json.model.type;
    this.#idOf = model.tokens_to_ids;
    const tokens: (string | undefined)[] = [];
    for (const [token, id] of this.#idOf) tokens[id] = token;
    this.#tokens = tokens;
    this.vocabularySize = tokens.length;
    for (const token of json.added_tokens) this.#addedIds.set(token.content, token.id);
    this.#addedPattern = patternOf(json.added_tokens);
    this.#specialIds = new Set(
      json.added_tokens.filter((token) => token.special).map((token) => token.id),
    );
    this.special = {
      endOfText: this.#roleId(config, "eos_token", END_NAMES),
      beginOfText: this.#roleId(config, "bos_token", BEGIN_NAMES),
      padding: this.#roleId(config, "pad_token", PADDING_NAMES),
      unknown: this.#roleId(
        { unk_token: json.model["unk_token"], ...config },
        "unk_token",
        UNKNOWN_NAMES,
      ),
    };
    this.fingerprint = createHash("sha256")
      .update(JSON.stringify([json, this.special]))
      .digest("hex");
    this.#words = chooseWordSplit(json);
    this.encodesInPieces = this.#words !== undefined;
    const everywhere = this.#words?.cutsInsideWords === true;
    this.#addedToKeepWhole = [...this.#addedIds.keys()].filter(
      (content) => everywhere || /\s/u.test(content),
    );
    const normalizer = hub.normalizer;
    this.#normalize = normalizer === null ? undefined : (text) => normalizer.normalize(text);
    this.#bytes = this.#bytesOfTokens(json);
  }

  encode(text: string, options: { readonly addSpecialTokens?: boolean } = {}): Uint32Array {
    const words = this.#words;
    if (words === undefined || options.addSpecialTokens === true) {
      const { ids } = this.#hub.encode(text, {
        add_special_tokens: options.addSpecialTokens === true,
      });
      return Uint32Array.from(ids, (id: number | undefined) => id ?? this.#unknownId(text));
    }
    const found: Uint32Array[] = [];
    let length = 0;
    const sections = this.#addedPattern === undefined ? [text] : text.split(this.#addedPattern);
    for (const [index, section] of sections.entries()) {
      if (section === "") continue;
      // A pattern with one group makes split() return text and separators in turn.
      const addedId = index % 2 === 1 ? this.#addedIds.get(section) : undefined;
      if (addedId !== undefined) {
        found.push(Uint32Array.of(addedId));
        length++;
        continue;
      }
      for (const word of words.split(
        this.#normalize === undefined ? section : this.#normalize(section),
      )) {
        const ids = this.#memory.get(word) ?? this.#encodeWord(word, words);
        found.push(ids);
        length += ids.length;
      }
    }
    const result = new Uint32Array(length);
    let at = 0;
    for (const ids of found) {
      // Most words are one or two ids, where set() costs more than the copy.
      if (ids.length === 1) result[at++] = ids[0] ?? 0;
      else {
        result.set(ids, at);
        at += ids.length;
      }
    }
    return result;
  }

  decode(ids: Iterable<number>, options: { readonly skipSpecialTokens?: boolean } = {}): string {
    const list = Array.from(ids);
    const kept = list.filter((id) => this.#isShown(id, options.skipSpecialTokens === true));
    if (kept.length === 0) return "";
    if (this.#bytes === undefined) return this.#hubDecode(kept);
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(
      Buffer.concat(kept.map((id) => this.#bytesOf(id))),
    );
  }

  streamDecoder(options: { readonly skipSpecialTokens?: boolean } = {}) {
    const skip = options.skipSpecialTokens === true;
    const inner =
      this.#bytes === undefined
        ? windowStreamDecoder((ids) => (ids.length === 0 ? "" : this.#hubDecode(ids)))
        : byteStreamDecoder((id) => this.#bytesOf(id));
    return {
      push: (id: number) => (this.#isShown(id, skip) ? inner.push(id) : ""),
      end: () => inner.end(),
    };
  }

  tokenOf(id: number): string | undefined {
    return this.#tokens[id];
  }

  idOf(token: string): number | undefined {
    return this.#idOf.get(token);
  }

  canCutAt(text: string, index: number): boolean {
    if (this.#words?.canCutAt(text, index) !== true) return false;
    for (const content of this.#addedToKeepWhole) {
      const around = text.slice(
        Math.max(0, index - content.length + 1),
        index + content.length - 1,
      );
      if (around.includes(content)) return false;
    }
    return true;
  }

  #encodeWord(word: string, words: WordSplit): Uint32Array {
    const tokens: readonly string[] = this.#hub.model?.encode([words.spell(word)]) ?? [];
    const ids = Uint32Array.from(tokens, (token) => this.#idOf.get(token) ?? this.#unknownId(word));
    if (this.#memory.size >= WORDS_REMEMBERED) this.#memory = new Map();
    // A slice of a large text would keep that text alive as the key.
    if (word.length <= 64) this.#memory.set(Buffer.from(word).toString(), ids);
    return ids;
  }

  #unknownId(text: string): number {
    const id = this.special.unknown;
    if (id !== undefined) return id;
    throw new TextError(
      "text.unknown",
      `the vocabulary cannot spell ${JSON.stringify(text.slice(0, 40))} and has no token for unknown text`,
    );
  }

  #isShown(id: number, skipSpecialTokens: boolean): boolean {
    if (this.#tokens[id] === undefined) {
      throw new TextError(
        "text.id",
        `token id ${id} is not in the vocabulary of ${this.vocabularySize} tokens`,
      );
    }
    return !skipSpecialTokens || !this.#specialIds.has(id);
  }

  #bytesOf(id: number): Uint8Array {
    return this.#bytes?.[id] ?? new Uint8Array(0);
  }

  /** Spaces before punctuation stay: decoding is the inverse of encoding, whatever clean_up_tokenization_spaces says. */
  #hubDecode(ids: readonly number[]): string {
    return this.#hub.decode([...ids], {
      skip_special_tokens: false,
      clean_up_tokenization_spaces: false,
    });
  }

  #bytesOfTokens(json: TokenizerJson): readonly (Uint8Array | undefined)[] | undefined {
    const kind = json.decoder?.type;
    if (kind !== "ByteLevel" && kind !== "Fuse") return undefined;
    return this.#tokens.map((token) => {
      if (token === undefined) return undefined;
      const spelled =
        kind === "ByteLevel" && !this.#addedIds.has(token) ? bytesOfSpelling(token) : undefined;
      return spelled ?? new TextEncoder().encode(token);
    });
  }

  #roleId(
    config: TokenizerConfigJson,
    field: string,
    names: readonly string[],
  ): number | undefined {
    const named = contentOf(config[field]);
    const fromConfig = named === undefined ? undefined : this.#idOf.get(named);
    if (fromConfig !== undefined) return fromConfig;
    const known = names.find((name) => this.#idOf.has(name));
    return known === undefined ? undefined : this.#idOf.get(known);
  }
}

/**
 * A tokenizer that runs a `tokenizer.json` through Hugging Face's own implementation.
 * Throws `TextError` `text.tokenizer.component` when the file uses a part that implementation does not have.
 */
export function runTokenizer(
  json: TokenizerJson,
  config: TokenizerConfigJson,
  where: string,
): Tokenizer {
  // The library reads WordLevel models under their older name.
  const model = json.model.type === "WordLevel" ? { ...json.model, type: undefined } : json.model;
  let hub: HubTokenizer;
  try {
    hub = new HubTokenizer({ ...json, model }, config);
    hub.encode("a b");
  } catch (error) {
    throw new TextError(
      "text.tokenizer.component",
      `${where}: the tokenizer cannot be set up: ${messageOf(error)}`,
      {
        cause: error,
      },
    );
  }
  return new RunningTokenizer(json, config, hub);
}
