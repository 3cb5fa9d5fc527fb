import { AnecdoteError } from "../util/errors.ts";

/** A rewrite that went wrong: it changed a type, or never came to rest. */
export class PassError extends AnecdoteError {}
