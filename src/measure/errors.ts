import { AnecdoteError } from "../util/errors.ts";

/** A measurement that cannot be made, a report that cannot be read. */
export class MeasureError extends AnecdoteError {}
