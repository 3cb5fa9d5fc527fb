import { BYTE_ALPHABET } from "./byte-level.ts";
import { TextError } from "./errors.ts";
import { specialToken } from "./tokenizer-json.ts";
import type { ModelJson, TokenizerConfigJson, TokenizerJson } from "./tokenizer-json.ts";
import { CHARACTER_SPLIT, runTokenizer } from "./tokenizer-runner.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** The token between documents, as text. */
export const END_OF_TEXT = "<|endoftext|>";
export const UNKNOWN = "<|unknown|>";

/** A tokenizer together with the two files that describe it. */
export interface DescribedTokenizer {
  readonly tokenizer: Tokenizer;
  readonly json: TokenizerJson;
  readonly config: TokenizerConfigJson;
  /** Files that stood beside them and belong to them, by name: `chat_template.jinja`, `special_tokens_map.json`. */
  readonly companions?: Readonly<Record<string, string>>;
}

/** The part of `tokenizer.json` that every tokenizer made here shares. */
export function tokenizerJson(
  parts: Omit<TokenizerJson, "version" | "truncation" | "padding">,
): TokenizerJson {
  return { version: "1.0", truncation: null, padding: null, ...parts };
}

/** A BPE model in the shape Hugging Face writes; without merges it maps characters to ids. */
export function bpeModel(
  vocab: Record<string, number>,
  merges: readonly (readonly [string, string])[],
  unknown: string | null,
): ModelJson {
  return {
    type: "BPE",
    dropout: null,
    unk_token: unknown,
    continuing_subword_prefix: null,
    end_of_word_suffix: null,
    fuse_unk: false,
    byte_fallback: false,
    ignore_merges: false,
    vocab,
    merges,
  };
}

/** `tokenizer_config.json` with what loaders of Hugging Face ask for, and nothing else. */
export function tokenizerConfig(tokens: {
  readonly endOfText?: string | undefined;
  readonly unknown?: string | undefined;
}): TokenizerConfigJson {
  return {
    tokenizer_class: "PreTrainedTokenizerFast",
    clean_up_tokenization_spaces: false,
    model_max_length: 1_000_000_000,
    ...(tokens.endOfText === undefined ? {} : { eos_token: tokens.endOfText }),
    ...(tokens.unknown === undefined ? {} : { unk_token: tokens.unknown }),
  };
}

export function describe(
  json: TokenizerJson,
  config: TokenizerConfigJson,
  where: string,
): DescribedTokenizer {
  return { tokenizer: runTokenizer(json, config, where), json, config };
}

/** The same tokenizer with a template that begins every text with the end-of-text token. */
export function beginningWithEnd(described: DescribedTokenizer): DescribedTokenizer {
  const id = described.tokenizer.special.endOfText;
  const token = id === undefined ? undefined : described.tokenizer.tokenOf(id);
  if (id === undefined || token === undefined) return described;
  const sequence = (name: "A" | "B", type: number) => ({ Sequence: { id: name, type_id: type } });
  const begin = { SpecialToken: { id: token, type_id: 0 } };
  const json = {
    ...described.json,
    post_processor: {
      type: "TemplateProcessing",
      single: [begin, sequence("A", 0)],
      pair: [begin, sequence("A", 0), sequence("B", 1)],
      special_tokens: { [token]: { id: token, ids: [id], tokens: [token] } },
    },
  };
  const begun = describe(json, { ...described.config, bos_token: token }, "tokenizer");
  return { ...described, ...begun };
}

/** Byte b is id b; <|endoftext|> is id 256. */
export function byteTokenizer(): DescribedTokenizer {
  const vocab = Object.fromEntries(BYTE_ALPHABET.map((character, byte) => [character, byte]));
  const byteLevel = {
    type: "ByteLevel",
    add_prefix_space: false,
    trim_offsets: true,
    use_regex: false,
  };
  const json = tokenizerJson({
    added_tokens: [specialToken(256, END_OF_TEXT)],
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: null,
    decoder: byteLevel,
    model: bpeModel(vocab, [], null),
  });
  return describe(json, tokenizerConfig({ endOfText: END_OF_TEXT }), "byte tokenizer");
}

const MOST_CHARACTERS = 65_536;

/**
 * One id for each character (code point) that occurs, in code point order; then <|endoftext|> and <|unknown|>.
 * Throws `TextError` `text.empty` when there is no text.
 */
export function characterTokenizer(texts: Iterable<string>): DescribedTokenizer {
  const characters = new Set<string>();
  for (const text of texts) {
    for (const character of text.replaceAll(END_OF_TEXT, "")) characters.add(character);
    if (characters.size > MOST_CHARACTERS) {
      throw new TextError(
        "text.characters",
        `the text has more than ${MOST_CHARACTERS} different characters`,
        {
          remedy: "Use a byte or a BPE tokenizer for it.",
        },
      );
    }
  }
  if (characters.size === 0)
    throw new TextError("text.empty", "there is no text to take characters from");
  const ordered = [...characters].sort((a, b) => (a.codePointAt(0) ?? 0) - (b.codePointAt(0) ?? 0));
  const vocab: Record<string, number> = Object.fromEntries(
    ordered.map((character, id) => [character, id]),
  );
  const endOfText = ordered.length;
  vocab[END_OF_TEXT] = endOfText;
  vocab[UNKNOWN] = endOfText + 1;
  const json = tokenizerJson({
    added_tokens: [specialToken(endOfText, END_OF_TEXT), specialToken(endOfText + 1, UNKNOWN)],
    normalizer: null,
    pre_tokenizer: CHARACTER_SPLIT,
    post_processor: null,
    decoder: { type: "Fuse" },
    model: bpeModel(vocab, [], UNKNOWN),
  });
  return describe(
    json,
    tokenizerConfig({ endOfText: END_OF_TEXT, unknown: UNKNOWN }),
    "character tokenizer",
  );
}
