import { TextError } from "../errors.ts";
import type { ModelJson } from "../tokenizer-json.ts";
import { takesAny } from "./merge-table.ts";
import type { BpeMerges } from "./merge-table.ts";

/**
 * Merges as a `tokenizer.json` lists them. Throws `TextError` `text.tokenizer.merge` for one of tokens that are not in
 * the vocabulary.
 */
export function listedMerges(model: ModelJson, vocab: ReadonlyMap<string, number>): BpeMerges {
  const merges = model.merges ?? [];
  const prefix = model["continuing_subword_prefix"];
  const skipped = typeof prefix === "string" ? prefix.length : 0;
  const triples = new Int32Array(3 * merges.length);
  let at = 0;
  for (const merge of merges) {
    const [left = "", right = ""] = typeof merge === "string" ? merge.split(" ") : merge;
    const joined = left + (skipped === 0 ? right : right.slice(skipped));
    const leftId = vocab.get(left);
    const rightId = vocab.get(right);
    const joinedId = vocab.get(joined);
    if (leftId === undefined || rightId === undefined || joinedId === undefined) {
      const missing = leftId === undefined ? left : rightId === undefined ? right : joined;
      throw new TextError(
        "text.tokenizer.merge",
        `model.merges[${at / 3}] needs ${JSON.stringify(missing)}, which is not in model.vocab`,
      );
    }
    triples[at++] = leftId;
    triples[at++] = rightId;
    triples[at++] = joinedId;
  }
  return {
    triples: () => triples,
    takes: (ids) => takesAny(triples, ids),
  };
}
