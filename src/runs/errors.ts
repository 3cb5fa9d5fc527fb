import { AnecdoteError } from "../util/errors.ts";

/** A run's folder that cannot be read, locked or gone on with. */
export class RunError extends AnecdoteError {}
