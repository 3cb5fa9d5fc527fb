/**
 * The base of every error Anecdote throws on purpose: what is wrong, where, what to do, and a stable code.
 * Each layer derives one class (`MilError`, `PlanError`, ...) so that callers can tell them apart.
 */
export class AnecdoteError extends Error {
  readonly code: string;
  /** What the user can do about it, as a sentence. */
  readonly remedy: string | undefined;

  constructor(code: string, message: string, options: { remedy?: string; cause?: unknown } = {}) {
    super(
      options.remedy === undefined ? message : `${message}\n  ${options.remedy}`,
      options.cause === undefined ? undefined : { cause: options.cause },
    );
    this.name = new.target.name;
    this.code = code;
    this.remedy = options.remedy;
  }
}

/** An error of the operating system's file calls, told as Anecdote tells errors. */
export class FileError extends AnecdoteError {}

/** Text of anything thrown. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

/** The code of an error of the system or of a library, such as ENOENT; nothing where it has none. */
export function errorCode(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}
