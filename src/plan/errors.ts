import { AnecdoteError } from "../util/errors.ts";

/** A plan that does not hold together: a buffer missing, a type that differs, a range outside a buffer. */
export class PlanError extends AnecdoteError {}
