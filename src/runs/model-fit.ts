import { RunError } from "./errors.ts";

/** Throws `RunError` where a tokenizer has ids for which the model has no row. */
export function requireRows(tokenCount: number, rowCount: number): void {
  if (tokenCount <= rowCount) return;
  throw new RunError(
    "train.vocabulary",
    `the tokenizer has ${tokenCount} tokens, the model's embedding ${rowCount} rows`,
    {
      remedy:
        "Use the model's own tokenizer, or write the model with a row for each token: --resize-embeddings with anecdote finetune, or anecdote export --model DIR --output DIR --resize-embeddings. A new model gets its rows by itself (--vocab-size).",
    },
  );
}
