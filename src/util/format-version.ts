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
