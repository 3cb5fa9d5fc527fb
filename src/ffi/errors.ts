import { AnecdoteError } from "../util/errors.ts";

/** A foreign library, or one of its functions, that cannot be had. */
export class FfiError extends AnecdoteError {}
