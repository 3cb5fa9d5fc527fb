import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { compiledUrl, packageUrl } from "../../src/util/source-layout.ts";
import { run } from "./in-process.ts";

const folder = mkdtempSync(join(tmpdir(), "anecdote-start-"));
const bundle = join(import.meta.dirname, "../../dist/bundle");

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Names of the bundle's files that a command line loads. */
function loadedBy(...words: readonly string[]): readonly string[] {
  const log = join(folder, "loaded.txt");
  const hooks = `import { appendFileSync } from "node:fs";
    export async function load(url, context, next) {
      appendFileSync(${JSON.stringify(log)}, url + "\\n");
      return next(url, context);
    }`;
  writeFileSync(log, "");
  const script = join(folder, "hooks.mjs");
  writeFileSync(
    script,
    `import { register } from "node:module";
     register("data:text/javascript," + encodeURIComponent(${JSON.stringify(hooks)}));`,
  );
  const bin = join(import.meta.dirname, "../../bin/anecdote.mjs");
  execFileSync(process.execPath, ["--import", pathToFileURL(script).href, bin, ...words], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  const prefix = `${pathToFileURL(bundle).href}/`;
  return readFileSync(log, "utf8")
    .split("\n")
    .filter((url) => url.startsWith(prefix))
    .map((url) => url.slice(prefix.length));
}

/** The chunks of commands' own modules are named after them. */
const commandsIn = (paths: readonly string[]): readonly string[] =>
  paths.flatMap(
    (path) => /^chunks\/(train|check|chips|generate|plan|doctor)-/.exec(path)?.[1] ?? [],
  );

describe("a start", () => {
  it("loads no command for help, and only the one that is named", () => {
    expect(commandsIn(loadedBy("--help"))).toEqual([]);
    expect(commandsIn(loadedBy("--version"))).toEqual([]);
    expect(commandsIn(loadedBy("chips"))).toEqual(["chips"]);
  });

  it("loads no engine and no derivative rules for the options of train", () => {
    const sources = loadedBy("train", "--print-config").map((path) =>
      readFileSync(join(bundle, path), "utf8"),
    );
    expect(sources.join("\n")).not.toMatch(/function (createCpuEngine|differentiate)\(/);
  });

  it("finds in the bundle every thread and process that the sources start", () => {
    const sources = readdirSync(new URL("src", packageUrl("")), { recursive: true })
      .map(String)
      .filter((path) => path.endsWith(".ts"))
      .map((path) => readFileSync(join(import.meta.dirname, "../../src", path), "utf8"));
    const started = sources.flatMap((text) =>
      [...text.matchAll(/compiledUrl\(\s*"([^"]+\.ts)"/g)].map(([, path]) => path ?? ""),
    );
    expect(started.length).toBeGreaterThanOrEqual(6);
    for (const path of started) {
      expect(existsSync(join(bundle, path.replace(/\.ts$/, ".js"))), path).toBe(true);
      expect(existsSync(compiledUrl(path)), path).toBe(true);
    }
  });

  it("tells of a name that no command has, and of the nearest", async () => {
    const { code, stderr } = await run("trian");
    expect(code).toBe(2);
    expect(stderr).toContain('Did you mean "train"?');
  });

  it("asks for the options of a command through help, too", async () => {
    const { stdout } = await run("help", "chips");
    expect(stdout).toContain("--svg");
  });
});
