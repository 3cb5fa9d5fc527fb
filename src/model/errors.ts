import { AnecdoteError } from "../util/errors.ts";

/** A configuration, a weight file or a weight that does not fit the model. */
export class ModelError extends AnecdoteError {}
