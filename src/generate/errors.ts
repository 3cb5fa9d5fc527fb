import { AnecdoteError } from "../util/errors.ts";

/** A text that cannot be generated as asked. */
export class GenerateError extends AnecdoteError {}
