import { spawnSync } from "node:child_process";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { describe, expect, it } from "vitest";
import { temporaryFolder } from "../helpers/cli.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** Programs in the pages that people read, and in the docstring of the library. */
function examples(): readonly (readonly [string, string])[] {
  const pages = ["README.md", ...readdirSync(join(ROOT, "docs")).filter(isPage).map(inDocs)];
  const ofPages = pages.flatMap((page) =>
    [...readFileSync(join(ROOT, page), "utf8").matchAll(/^```(?:m?js|ts)\n(.*?)^```/gms)].map(
      ([, code = ""], index) => [`${page}, example ${index + 1}`, code] as const,
    ),
  );
  const docstring = readFileSync(join(ROOT, "src", "index.ts"), "utf8");
  const [, code = ""] = /\* ```ts\n(.*?) \* ```/s.exec(docstring) ?? [];
  const text = code.replaceAll(/^ \* ?/gm, "");
  return [...ofPages, ["src/index.ts", `import { train } from "anecdote";\n${text}`]];
}

const isPage = (name: string): boolean => name.endsWith(".md");
const inDocs = (name: string): string => join("docs", name);

describe("examples of the docs", () => {
  const all = examples();

  it("are found", () => {
    expect(all.map(([where]) => where)).toContain("README.md, example 1");
    expect(all.map(([where]) => where)).toContain("src/index.ts");
  });

  it.each(all)("%s runs to its end", { timeout: 300_000 }, (_, code) => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, "input.txt"), "ROMEO: But soft, what light?\n".repeat(400));
    const library = pathToFileURL(join(ROOT, "dist")).href;
    // As it stands, but from this build and for two steps.
    const script = code
      .replaceAll(/from "anecdote"/g, `from "${library}/index.js"`)
      .replaceAll(/from "anecdote\/(\w+)"/g, `from "${library}/$1.js"`)
      .replaceAll('data: "input.txt" }', 'data: "input.txt", max_steps: 2, eval_batches: 1 }');
    const file = join(folder, "example.mjs");
    writeFileSync(file, script);
    const { status, stdout, stderr } = spawnSync(process.execPath, [file], {
      cwd: folder,
      encoding: "utf8",
    });
    expect(stderr).toBe("");
    expect(status).toBe(0);
    expect(stdout.length).toBeGreaterThan(0);
  });
});
