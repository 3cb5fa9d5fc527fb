import { AnecdoteError } from "./errors.ts";

/** A name, type or value that a command or a configuration file may not have. */
export class OptionError extends AnecdoteError {}
