import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, describe, expect, it } from "vitest";

const folder = mkdtempSync(join(tmpdir(), "anecdote-entries-"));
const dist = join(import.meta.dirname, "../dist");

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Paths below dist/ of the modules that Node loads for an entry of the package. */
function loadedBy(entry: string): readonly string[] {
  const log = join(folder, "loaded.txt");
  const hooks = `import { appendFileSync } from "node:fs";
    export async function load(url, context, next) {
      appendFileSync(${JSON.stringify(log)}, url + "\\n");
      return next(url, context);
    }`;
  writeFileSync(log, "");
  const script = join(folder, "load.mjs");
  writeFileSync(
    script,
    `import { register } from "node:module";
     register("data:text/javascript," + encodeURIComponent(${JSON.stringify(hooks)}));
     await import(${JSON.stringify(pathToFileURL(join(dist, entry)).href)});`,
  );
  execFileSync(process.execPath, [script], { stdio: ["ignore", "ignore", "inherit"] });
  const prefix = `${pathToFileURL(dist).href}/`;
  return readFileSync(log, "utf8")
    .split("\n")
    .filter((url) => url.startsWith(prefix))
    .map((url) => url.slice(prefix.length));
}

describe("the package's entries", () => {
  it("load neither decoders nor measurements with the main one", () => {
    const loaded = loadedBy("index.js");
    expect(loaded).toContain("train/index.js");
    expect(loaded.filter((path) => /^(inspect\/(hwx|e5)|measure|cli)\//.test(path))).toEqual([]);
  });

  it("load decoders with anecdote/inspect and measurements with anecdote/measure", () => {
    expect(loadedBy("inspect.js")).toContain("inspect/hwx/decode.js");
    expect(loadedBy("inspect.js").filter((path) => path.startsWith("measure/"))).toEqual([]);
    expect(loadedBy("measure.js")).toContain("measure/self-test/self-test.js");
  });
});
