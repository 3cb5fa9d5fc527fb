import { AnecdoteError } from "../util/errors.ts";

/** Everything that can be wrong with texts, tokenizers, datasets and downloads. Codes begin with `text.`. */
export class TextError extends AnecdoteError {}
