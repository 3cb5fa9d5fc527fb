import { realpathSync } from "node:fs";
import { sep } from "node:path";

/** Whether a path, links followed, stands below a folder: a check of many paths, for which the folder is looked up once. */
export function belowOf(folder: string): (path: string) => boolean {
  const above = realOf(folder);
  return (path) => above !== undefined && realOf(path)?.startsWith(`${above}${sep}`) === true;
}

function realOf(path: string): string | undefined {
  try {
    return realpathSync.native(path);
  } catch {
    return undefined;
  }
}
