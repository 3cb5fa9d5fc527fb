import { RunError } from "./errors.ts";

/** Throws `RunError` where a tokenizer has ids for which the model has no row. */
export function requireRows(tokenCount: number, rowCount: number): void {
  if (tokenCount <= rowCount) return;
  throw new RunError(
    "train.vocabulary",
    `the tokenizer has ${tokenCount} tokens, the model's embedding ${rowCount} rows`,
    {
      remedy:
        "Use the model's own tokenizer; a new model gets a row for each token of its tokenizer (--vocab-size).",
    },
  );
}
