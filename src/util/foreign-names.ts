/** What to write instead of names that other tools have, by key. */
export type ForeignNames = Readonly<Record<string, string>>;

/** What `foreign` says of a name, as words that follow a message. */
export function foreignHint(spelling: string, foreign: ForeignNames): string | undefined {
  const key = spelling.replace(/^--/, "").replaceAll("-", "_");
  return Object.hasOwn(foreign, key) ? ` ${foreign[key] ?? ""}` : undefined;
}
