import { GgufMetadata, withGguf } from "../model/gguf/gguf-file.ts";
import type { GgufFile } from "../model/gguf/gguf-file.ts";
import { TextError } from "./errors.ts";
import { framing, PIECE_KINDS, scoredTokenizer } from "./sentencepiece-json.ts";
import type { ScoredPieces } from "./sentencepiece-json.ts";
import { describe } from "./simple-tokenizers.ts";
import type { DescribedTokenizer } from "./simple-tokenizers.ts";
import { checkTokenizerJson } from "./tokenizer-json.ts";
import type { ComponentJson, TokenizerJson } from "./tokenizer-json.ts";

/** Ways in which text is split before merges. */
export const GGUF_SPLITS = ["gpt2", "llama3", "qwen2", "digits"] as const;
type Split = (typeof GGUF_SPLITS)[number];

/** Names of `tokenizer.ggml.pre`; those that llama.cpp treats alike share a row. */
const SPLITS: Readonly<Record<string, Split>> = {
  "gpt-2": "gpt2",
  "phi-2": "gpt2",
  "roberta-bpe": "gpt2",
  "llama-bpe": "llama3",
  "llama-v3": "llama3",
  llama3: "llama3",
  qwen2: "qwen2",
  smollm: "digits",
  starcoder: "digits",
  refact: "digits",
};

const WORDS = String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+`;
const REST = String.raw` ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`;

/** The pre-tokenizer that a way of splitting means. */
export function preTokenizer(kind: Split): ComponentJson {
  const bytes = (use_regex: boolean): ComponentJson => ({
    ...{ type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex },
  });
  const sequence = (first: ComponentJson, second: ComponentJson): ComponentJson => ({
    type: "Sequence",
    pretokenizers: [first, second],
  });
  const split = (numbers: string): ComponentJson => ({
    type: "Split",
    pattern: { Regex: `${WORDS}|${numbers}|${REST}` },
    behavior: "Isolated",
    invert: false,
  });
  switch (kind) {
    case "gpt2":
      return bytes(true);
    case "llama3":
      return sequence(split(String.raw`\p{N}{1,3}`), bytes(false));
    case "qwen2":
      return sequence(split(String.raw`\p{N}`), bytes(false));
    case "digits":
      return sequence({ type: "Digits", individual_digits: true }, bytes(true));
  }
}

interface Parts {
  readonly tokens: readonly string[];
  readonly kinds: readonly number[];
  readonly before: readonly number[];
  readonly after: readonly number[];
}

/**
 * The tokenizer in a GGUF file's metadata. Throws `TextError` for a file without one, and for kinds that are not known.
 */
export function ggufTokenizer(path: string): DescribedTokenizer {
  return withGguf(path, describedBy);
}

function describedBy(file: GgufFile): DescribedTokenizer {
  const where = file.source.name;
  const metadata = new GgufMetadata(file);
  const key = (name: string): string => `tokenizer.ggml.${name}`;
  const model = metadata.text(key("model"));
  const tokens = metadata.texts(key("tokens"));
  if (model === undefined || tokens === undefined) {
    throw new TextError("text.tokenizer.missing", `${where} has no tokenizer in its metadata`, {
      remedy: "Give the model's tokenizer.json: --tokenizer DIR.",
    });
  }
  const isScored = model === "llama";
  if (!isScored && model !== "gpt2") {
    throw new TextError(
      "text.tokenizer.model",
      `${where}: a tokenizer of the kind "${model}" is not read; llama and gpt2 are`,
      { remedy: "Give the model's tokenizer.json: --tokenizer DIR." },
    );
  }
  const kinds = metadata.numbers(key("token_type")) ?? tokens.map(() => PIECE_KINDS.normal);
  const idOf = (name: string): number | undefined => {
    const id = metadata.number(key(`${name}_token_id`));
    if (id === undefined || tokens[id] !== undefined) return id;
    throw new TextError(
      "text.tokenizer.id",
      `${where}: ${key(`${name}_token_id`)} is ${id}, the vocabulary has ${tokens.length} tokens`,
    );
  };
  const [begin, end] = [idOf("bos"), idOf("eos")];
  const isBegun = metadata.flag(key("add_bos_token")) ?? isScored;
  const isEnded = metadata.flag(key("add_eos_token")) ?? false;
  const parts: Parts = {
    ...{ tokens, kinds },
    before: isBegun && begin !== undefined ? [begin] : [],
    after: isEnded && end !== undefined ? [end] : [],
  };
  const roles = [
    ["bos_token", begin],
    ["eos_token", end],
    ["unk_token", idOf("unknown")],
    ["pad_token", idOf("padding")],
  ] as const;
  const template = metadata.text("tokenizer.chat_template");
  const config = {
    tokenizer_class: "PreTrainedTokenizerFast",
    clean_up_tokenization_spaces: false,
    ...Object.fromEntries(
      roles.flatMap(([role, id]) => (id === undefined ? [] : [[role, tokens[id]]])),
    ),
    ...(template !== undefined && { chat_template: template }),
  };
  return isScored
    ? scoredTokenizer(scoredPieces(parts, metadata, where), config, where)
    : describe(mergedJson(parts, metadata, where), config, where);
}

function scoredPieces(parts: Parts, metadata: GgufMetadata, where: string): ScoredPieces {
  const scores = metadata.numbers("tokenizer.ggml.scores");
  for (const [name, list] of [
    ["scores", scores],
    ["token_type", parts.kinds],
  ] as const) {
    if (list?.length === parts.tokens.length) continue;
    throw new TextError(
      "text.tokenizer.shape",
      `${where}: tokenizer.ggml.${name} has ${list?.length ?? 0} members, tokenizer.ggml.tokens ${parts.tokens.length}`,
    );
  }
  return {
    pieces: parts.tokens,
    scores: scores ?? [],
    kinds: parts.kinds,
    addsSpace: metadata.flag("tokenizer.ggml.add_space_prefix") ?? true,
    before: parts.before,
    after: parts.after,
  };
}

function mergedJson(
  { tokens, kinds, before, after }: Parts,
  metadata: GgufMetadata,
  where: string,
): TokenizerJson {
  const merges = metadata.texts("tokenizer.ggml.merges");
  if (merges === undefined) {
    throw new TextError("text.tokenizer.merge", `${where} has no tokenizer.ggml.merges`, {
      remedy: "Give the model's tokenizer.json: --tokenizer DIR.",
    });
  }
  const isGpt2 = metadata.text("general.architecture") === "gpt2";
  const name = metadata.text("tokenizer.ggml.pre") ?? (isGpt2 ? "gpt-2" : "");
  const split = Object.hasOwn(SPLITS, name) ? SPLITS[name] : undefined;
  if (split === undefined) {
    throw new TextError(
      "text.tokenizer.component",
      `${where}: text is split before merges in the way "${name}" (tokenizer.ggml.pre), which is not known; known are ${Object.keys(SPLITS).join(", ")}`,
      { remedy: "Give the model's tokenizer.json: --tokenizer DIR." },
    );
  }
  const isUnused = (id: number): boolean => kinds[id] === PIECE_KINDS.unused;
  const isFound = (id: number): boolean =>
    kinds[id] === PIECE_KINDS.control || kinds[id] === PIECE_KINDS.userDefined;
  return checkTokenizerJson(
    {
      version: "1.0",
      added_tokens: tokens.flatMap((content, id) =>
        isFound(id)
          ? [{ id, content, special: kinds[id] === PIECE_KINDS.control, normalized: false }]
          : [],
      ),
      normalizer: split === "qwen2" ? { type: "NFC" } : null,
      pre_tokenizer: preTokenizer(split),
      post_processor: framing(before, after, tokens),
      decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
      model: {
        type: "BPE",
        dropout: null,
        unk_token: null,
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        fuse_unk: false,
        byte_fallback: false,
        ignore_merges: split === "llama3",
        vocab: Object.fromEntries(
          tokens.flatMap((token, id) =>
            isFound(id) || isUnused(id) ? [] : [[token, id] as const],
          ),
        ),
        merges,
      },
    },
    where,
  );
}
