import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const API = join(ROOT, "docs", "api");

/** Names that a face exports, `export *` of a room followed; namespaces by their own names. */
function exportsOf(path: string): ReadonlySet<string> {
  const text = readFileSync(path, "utf8");
  const names = new Set<string>();
  for (const [, list = ""] of text.matchAll(/^export (?:type )?\{([^}]*)\}/gms)) {
    for (const part of list.split(",")) {
      const name =
        part
          .trim()
          .replace(/^type /, "")
          .split(" as ")
          .at(-1)
          ?.trim() ?? "";
      if (name !== "") names.add(name);
    }
  }
  for (const [, name = ""] of text.matchAll(/^export \* as (\w+) from/gm)) names.add(name);
  for (const [, kind, target = ""] of text.matchAll(/^export (type )?\* from "([^"]+)"/gm)) {
    const inside = join(path, "..", target);
    const all = kind === undefined ? exportsOf(inside) : declaredIn(inside);
    for (const name of all) names.add(name);
  }
  return names;
}

/** Names that a file declares itself and exports. */
function declaredIn(path: string): ReadonlySet<string> {
  const declaration = /^export (?:abstract )?(?:interface|type|const|function|class) (\w+)/gm;
  return new Set(
    [...readFileSync(path, "utf8").matchAll(declaration)].map(([, name = ""]) => name),
  );
}

/** Names that a page of the reference has a heading, a link or a row for. */
function namesOn(page: string): ReadonlySet<string> {
  const text = readFileSync(page, "utf8").replaceAll("\\_", "_");
  const headings = [...text.matchAll(/^#{2,4} (?:~~)?`?(\w+)/gm)].map(([, name = ""]) => name);
  const links = [...text.matchAll(/\[`?(\w+)`?\]\(/g)].map(([, name = ""]) => name);
  return new Set([...headings, ...links]);
}

/** Headings of declarations: those below a heading of their kind. */
function declaredOn(page: string): readonly string[] {
  const text = readFileSync(page, "utf8").replaceAll("\\_", "_");
  return [...text.matchAll(/^### (\w+)(?:\(\))?$/gm)].map(([, name = ""]) => name);
}

const PAGES = [
  ["src/index.ts", join("index", "index.md")],
  ["src/inspect.ts", "inspect.md"],
  ["src/measure.ts", "measure.md"],
] as const;

describe("docs/api", () => {
  it.each(PAGES)("tells every name that %s exports, and no other", (source, page) => {
    const path = join(API, page);
    expect(existsSync(path), "npm run docs:api makes the reference").toBe(true);
    const wanted = exportsOf(join(ROOT, source));
    const told = namesOn(path);
    expect([...wanted].filter((name) => !told.has(name))).toEqual([]);
    expect(declaredOn(path).filter((name) => !wanted.has(name))).toEqual([]);
  });

  it("has a page for every namespace, with every name of its face", () => {
    const index = readFileSync(join(ROOT, "src/index.ts"), "utf8");
    const folder = join(API, "index", "namespaces");
    const pages = readdirSync(folder);
    const namespaces = [...index.matchAll(/^export \* as (\w+) from "([^"]+)"/gm)];
    expect(namespaces.length).toBeGreaterThan(10);
    for (const [, name = "", target = ""] of namespaces) {
      const page = pages.find((file) => file === `${name}.md` || file === `${name}-1.md`);
      expect(page, name).toBeDefined();
      const told = namesOn(join(folder, page ?? ""));
      const wanted = exportsOf(join(ROOT, "src", target));
      expect(
        [...wanted].filter((exported) => !told.has(exported)),
        name,
      ).toEqual([]);
    }
  });
});
