import { AnecdoteError } from "../util/errors.ts";

/** A function that cannot be differentiated as asked, or whose taps do not fit into the bytes allowed. */
export class GradError extends AnecdoteError {}
