import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { compiledUrl, packageUrl } from "../../src/util/source-layout.ts";
import { loadedModules } from "../helpers/loaded-modules.ts";
import { run } from "./in-process.ts";

const folder = mkdtempSync(join(tmpdir(), "anecdote-start-"));
const bundle = join(import.meta.dirname, "../../dist/bundle");

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Names of the bundle's files that a command line loads. */
function loadedBy(...words: readonly string[]): readonly string[] {
  const bin = join(import.meta.dirname, "../../bin/anecdote.mjs");
  return loadedModules(folder, bundle, [bin, ...words]);
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
