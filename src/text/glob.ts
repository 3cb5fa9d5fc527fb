import { readdirSync } from "node:fs";
import { join } from "node:path";

/** Whether a path is a pattern rather than a name. */
export function isPattern(path: string): boolean {
  return /[*?[\]{}]/.test(path);
}

function segmentPattern(segment: string): RegExp {
  let source = "";
  let depth = 0;
  for (const sign of segment) {
    if (sign === "*") source += "[^/]*";
    else if (sign === "?") source += "[^/]";
    else if (sign === "{") {
      source += "(?:";
      depth++;
    } else if (sign === "}" && depth > 0) {
      source += ")";
      depth--;
    } else if (sign === "," && depth > 0) source += "|";
    else if (sign === "[" || sign === "]" || sign === "-") source += sign;
    else if (sign === "!" && source.endsWith("[")) source += "^";
    else source += sign.replace(/[.+^$()|\\]/, "\\$&");
  }
  return new RegExp(`^${source}$`, "u");
}

/**
 * The files that a pattern names, in order of their names: `*` and `?` within a name, `[ab]`, `{a,b}`, `**` for any
 * folders. Names that begin with a dot are only taken where the pattern says the dot.
 */
export function expandPattern(pattern: string): readonly string[] {
  const [first = "", ...others] = pattern.split("/");
  const isAbsolute = pattern.startsWith("/");
  const found = isAbsolute ? expand("/", others) : expand("", [first, ...others]);
  return [...new Set(found)].sort();
}

function expand(folder: string, segments: readonly string[]): readonly string[] {
  const [segment, ...rest] = segments;
  if (segment === undefined) return [folder];
  if (segment === "**") {
    const deeper = entriesOf(folder)
      .filter((entry) => entry.isDirectory && !entry.name.startsWith("."))
      .flatMap((entry) => expand(join(folder, entry.name), segments));
    return [...expand(folder, rest), ...deeper];
  }
  if (!isPattern(segment)) return expand(join(folder, segment), rest);
  const matcher = segmentPattern(segment);
  return entriesOf(folder)
    .filter(({ name }) => matcher.test(name) && (!name.startsWith(".") || segment.startsWith(".")))
    .filter(({ isDirectory }) => rest.length === 0 || isDirectory)
    .flatMap(({ name }) => expand(join(folder, name), rest));
}

function entriesOf(
  folder: string,
): readonly { readonly name: string; readonly isDirectory: boolean }[] {
  try {
    return readdirSync(folder === "" ? "." : folder, { withFileTypes: true }).map((entry) => ({
      name: entry.name,
      isDirectory: entry.isDirectory(),
    }));
  } catch {
    return [];
  }
}
