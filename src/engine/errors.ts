import { AnecdoteError } from "../util/errors.ts";

/** An engine that is missing, refuses a program, or failed while running one. */
export class EngineError extends AnecdoteError {}
