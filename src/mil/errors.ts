import { AnecdoteError } from "../util/errors.ts";

/** Anything wrong with a MIL program: an unknown op, types that do not fit, a rule of the language broken. */
export class MilError extends AnecdoteError {}
