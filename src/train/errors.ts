import { AnecdoteError } from "../util/errors.ts";

/** A training run that cannot start, go on or be resumed. */
export class TrainError extends AnecdoteError {}
