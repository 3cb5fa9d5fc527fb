import { AnecdoteError } from "../util/errors.ts";

/** A group of processes that cannot be formed, or whose members failed or left. */
export class ClusterError extends AnecdoteError {}
