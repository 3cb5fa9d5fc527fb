import { AnecdoteError } from "../util/errors.ts";

/** Anything wrong with a Core ML file: a package, a model, a weight file. */
export class CoreMlError extends AnecdoteError {}
