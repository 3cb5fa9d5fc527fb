import type { AddedTokenJson, TokenizerConfigJson, TokenizerFrame } from "./tokenizer-json.ts";
import type { SpecialTokenIds } from "./tokenizer.ts";

/** Spellings of special tokens with a role, for files that name none. */
const END_NAMES = ["<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<|eot_id|>", "<|im_end|>"];
const BEGIN_NAMES = ["<|begin_of_text|>", "<s>", "<bos>"];
const PADDING_NAMES = ["<|pad|>", "<pad>", "[PAD]", "<|finetune_right_pad_id|>"];

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

/**
 * Roles of tokens: what the configuration says (null means none); where it does not say, a special token with a usual
 * name. An ordinary piece of the vocabulary that only looks like one has no role.
 */
export function specialTokenIds(
  json: TokenizerFrame,
  config: TokenizerConfigJson,
  idOf: (token: string) => number | undefined,
): SpecialTokenIds {
  const special = new Map(
    json.added_tokens
      .filter((token: AddedTokenJson) => token.special)
      .map(({ content, id }) => [content, id]),
  );
  const role = (field: string, names: readonly string[]): number | undefined => {
    const named = contentOf(config[field]);
    if (named === undefined && Object.hasOwn(config, field)) return undefined;
    const id = named === undefined ? undefined : idOf(named);
    if (id !== undefined) return id;
    const known = names.find((name) => special.has(name));
    return known === undefined ? undefined : special.get(known);
  };
  return {
    endOfText: role("eos_token", END_NAMES),
    beginOfText: role("bos_token", BEGIN_NAMES),
    padding: role("pad_token", PADDING_NAMES),
    unknown: unknownId(json, config, idOf),
  };
}

/** The model's own unknown token is the one that text becomes, whatever the configuration calls so. */
function unknownId(
  { model }: TokenizerFrame,
  config: TokenizerConfigJson,
  idOf: (token: string) => number | undefined,
): number | undefined {
  const { unk_id: unigramId } = model;
  if (typeof unigramId === "number") return unigramId;
  const named = contentOf(model["unk_token"]) ?? contentOf(config["unk_token"]);
  return named === undefined ? undefined : idOf(named);
}
