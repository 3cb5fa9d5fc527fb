import { AnecdoteError } from "../util/errors.ts";

/** A file that is not what was asked for, or arrays and sizes that do not fit the program in it. */
export class FilesError extends AnecdoteError {}
