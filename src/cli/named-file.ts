import { UsageError } from "./errors.ts";

/** Flags of commands that open a file with a program. */
export interface ProgramFlags {
  readonly function?: string;
  readonly shape: readonly string[];
  readonly dim: readonly string[];
  readonly json?: boolean;
}

/** `NAME=FILE.npy` of `--input`. Throws `UsageError`. */
export function namedFile(text: string): [string, string] {
  const at = text.indexOf("=");
  if (at < 1 || at === text.length - 1) {
    throw new UsageError("cli.run.input", `--input takes NAME=FILE.npy, not "${text}"`);
  }
  return [text.slice(0, at), text.slice(at + 1)];
}
