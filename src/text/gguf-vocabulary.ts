import type { GgufMetadataEntry } from "../model/gguf/gguf-model.ts";
import { TextError } from "./errors.ts";
import { GGUF_SPLITS, preTokenizer } from "./gguf-tokenizer.ts";
import { PIECE_KINDS } from "./sentencepiece-json.ts";
import type { DescribedTokenizer } from "./simple-tokenizers.ts";
import type { TokenizerJson } from "./tokenizer-json.ts";

const SPACE = "▁";

/**
 * A tokenizer as GGUF metadata, for a model with `rowCount` rows in its embedding. Throws `TextError`
 * `text.gguf` for a tokenizer that the format has no place for, so that another program would read texts otherwise.
 */
export function ggufVocabulary(
  { json, config, tokenizer, companions }: DescribedTokenizer,
  rowCount: number,
): readonly GgufMetadataEntry[] {
  const { model } = json;
  if (model.type !== "BPE")
    refuse(`is a ${model.type} model; byte-level BPE and SentencePiece's BPE can be written`);
  const isScored = model["byte_fallback"] === true;
  const vocab = model.vocab as Readonly<Record<string, number>>;
  const tokens: string[] = Array.from({ length: rowCount }, (_, id) => `[PAD${id}]`);
  const kinds: number[] = Array.from({ length: rowCount }, () => PIECE_KINDS.unused);
  const place = (token: string, id: number, kind: number): void => {
    if (id >= rowCount) refuse(`has the id ${id}, the model's embedding ${rowCount} rows`);
    tokens[id] = token;
    kinds[id] = kind;
  };
  const unknown = model["unk_token"];
  for (const [token, id] of Object.entries(vocab)) {
    const isByte = isScored && /^<0x[0-9A-F]{2}>$/.test(token);
    const kind =
      token === unknown ? PIECE_KINDS.unknown : isByte ? PIECE_KINDS.byte : PIECE_KINDS.normal;
    place(token, id, kind);
  }
  for (const { content, id, special } of json.added_tokens) {
    if (content === unknown) continue;
    place(content, id, special ? PIECE_KINDS.control : PIECE_KINDS.userDefined);
  }
  const { before, after } = tokenizer.template;
  const { beginOfText, endOfText, padding, unknown: unknownId } = tokenizer.special;
  const begin = before[0] ?? beginOfText;
  if (before.length > 1 || (before.length === 1 && after.length === 1 && after[0] !== endOfText))
    refuse("puts more than a begin and an end token around texts");
  const ids = [
    ["bos", begin],
    ["eos", endOfText],
    ["unknown", unknownId],
    ["padding", padding],
  ] as const;
  const template = companions?.["chat_template.jinja"] ?? config["chat_template"];
  const entries: GgufMetadataEntry[] = [
    ["tokenizer.ggml.model", { type: "string", value: isScored ? "llama" : "gpt2" }],
    ["tokenizer.ggml.pre", { type: "string", value: isScored ? "default" : splitName(json) }],
    ["tokenizer.ggml.tokens", { type: "strings", value: tokens }],
    ...(isScored ? [scoresEntry(json, tokens, kinds)] : [mergesEntry(json)]),
    ["tokenizer.ggml.token_type", { type: "int32s", value: kinds }],
    ...ids.flatMap(([name, id]): GgufMetadataEntry[] =>
      id === undefined ? [] : [[`tokenizer.ggml.${name}_token_id`, { type: "uint32", value: id }]],
    ),
    ["tokenizer.ggml.add_bos_token", { type: "bool", value: before.length > 0 }],
    ["tokenizer.ggml.add_eos_token", { type: "bool", value: after.length > 0 }],
  ];
  if (isScored) {
    const value = addsSpace(json);
    entries.push(["tokenizer.ggml.add_space_prefix", { type: "bool", value }]);
  }
  if (typeof template === "string")
    entries.push(["tokenizer.chat_template", { type: "string", value: template }]);
  return entries;
}

function refuse(problem: string): never {
  throw new TextError("text.gguf", `the tokenizer ${problem}: a GGUF file has no place for it`, {
    remedy: "Export a Hugging Face folder instead: anecdote export.",
  });
}

/** Equal but for fields that change no id. */
function isSame(a: unknown, b: unknown): boolean {
  const plain = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(plain);
    if (typeof value !== "object" || value === null) return value;
    const kept = Object.entries(value)
      .filter(([key]) => key !== "trim_offsets")
      .toSorted(([x], [y]) => (x < y ? -1 : 1));
    return Object.fromEntries(kept.map(([key, item]) => [key, plain(item)]));
  };
  return JSON.stringify(plain(a)) === JSON.stringify(plain(b));
}

/** What llama.cpp calls the way in which text is split before merges. */
function splitName({ pre_tokenizer, normalizer, model }: TokenizerJson): string {
  const names = { gpt2: "gpt-2", llama3: "llama-bpe", qwen2: "qwen2", digits: "smollm" } as const;
  const found = GGUF_SPLITS.find((split) => isSame(pre_tokenizer, preTokenizer(split)));
  if (found === undefined)
    return refuse("splits text in a way of its own before merges, which llama.cpp has no name for");
  const isNormalized = normalizer !== null;
  const normalizes = found === "qwen2" ? isSame(normalizer, { type: "NFC" }) : !isNormalized;
  if (!normalizes) refuse(`normalizes text (${normalizer?.type ?? "not"})`);
  if ((model["ignore_merges"] === true) !== (found === "llama3"))
    refuse("takes whole words before merges, or does not, other than llama.cpp would");
  return names[found];
}

function mergesEntry({ model }: TokenizerJson): GgufMetadataEntry {
  const value = (model.merges ?? []).map((merge) =>
    typeof merge === "string" ? merge : merge.join(" "),
  );
  return ["tokenizer.ggml.merges", { type: "strings", value }];
}

/**
 * Scores under which the best neighbours are those of the merges: a piece's is the place of its first merge. Refused
 * where merges of one piece do not stand together, or one is missing, since scores cannot say that.
 */
function scoresEntry(
  { model }: TokenizerJson,
  tokens: readonly string[],
  kinds: readonly number[],
): GgufMetadataEntry {
  const joinable = new Set(
    tokens.filter(
      (_, id) => kinds[id] === PIECE_KINDS.normal || kinds[id] === PIECE_KINDS.userDefined,
    ),
  );
  const ways = new Map<string, number>();
  let last = "";
  for (const merge of model.merges ?? []) {
    const [left = "", right = ""] = typeof merge === "string" ? merge.split(" ") : merge;
    const piece = left + right;
    if (piece !== last && ways.has(piece))
      refuse(`merges ${JSON.stringify(piece)} at several ranks`);
    ways.set(piece, (ways.get(piece) ?? 0) + 1);
    last = piece;
  }
  const order = new Map([...ways.keys()].map((piece, index) => [piece, index]));
  for (const piece of joinable) {
    let count = 0;
    for (let cut = 1; cut < piece.length; cut++)
      if (joinable.has(piece.slice(0, cut)) && joinable.has(piece.slice(cut))) count++;
    if (count !== (ways.get(piece) ?? 0))
      refuse(`joins ${JSON.stringify(piece)} from ${ways.get(piece) ?? 0} of ${count} pairs`);
  }
  const value = tokens.map((token, id) => {
    if (kinds[id] !== PIECE_KINDS.normal && kinds[id] !== PIECE_KINDS.userDefined) return 0;
    return -(order.get(token) ?? order.size + id);
  });
  return ["tokenizer.ggml.scores", { type: "float32s", value }];
}

/**
 * Whether a space is put before texts. Refused where a text is changed otherwise before merges than by spaces that
 * become marks.
 */
function addsSpace({ normalizer, pre_tokenizer: before }: TokenizerJson): boolean {
  const given: unknown = normalizer?.type === "Sequence" ? normalizer["normalizers"] : [normalizer];
  const steps: readonly unknown[] = (Array.isArray(given) ? given : []).filter(
    (step) => step !== null,
  );
  const prepend = { type: "Prepend", prepend: SPACE };
  const replace = { type: "Replace", pattern: { String: " " }, content: SPACE };
  const odd = steps.find((step) => !isSame(step, prepend) && !isSame(step, replace));
  if (odd !== undefined) refuse(`normalizes text: ${JSON.stringify(odd)}`);
  const isReplaced = steps.some((step) => isSame(step, replace));
  const isPrepended = steps.some((step) => isSame(step, prepend));
  if (before === null && isReplaced) return isPrepended;
  const idle = {
    ...{ type: "Split", pattern: { String: " " }, behavior: "MergedWithPrevious", invert: false },
  };
  if (isReplaced && isSame(before, idle)) return isPrepended;
  const isMarked = before?.type === "Metaspace" && before["replacement"] === SPACE;
  if (steps.length === 0 && isMarked && before["split"] === false)
    return before["prepend_scheme"] !== "never";
  return refuse("splits text before merges");
}
