import { isRecord } from "./is-record.ts";

/**
 * What is wrong with a file of a later format, as words that follow its name; nothing for one that is read. A missing
 * version is the first, from before files carried one.
 */
export function laterVersion(found: unknown, known: number): string | undefined {
  if (typeof found !== "number" || found <= known) return undefined;
  return `is of format version ${found}; this Anecdote reads up to version ${known}`;
}

/** What helps with a later format. */
export const LATER_VERSION_REMEDY = "Use the Anecdote that wrote it, or a newer one.";

type ErrorClass = new (code: string, message: string, options: { remedy: string }) => Error;

/**
 * Throws an error of a class where `content`, parsed, says in its `field` that it is of a later format than `known`.
 * `what` names the file.
 */
export function refuseLater(
  content: unknown,
  {
    known,
    what,
    field = "version",
  }: { readonly known: number; readonly what: string; readonly field?: string },
  Failure: ErrorClass,
  code: string,
): void {
  const later = laterVersion(isRecord(content) ? content[field] : undefined, known);
  if (later !== undefined)
    throw new Failure(code, `${what} ${later}`, { remedy: LATER_VERSION_REMEDY });
}
