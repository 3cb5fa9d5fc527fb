import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { loadedModules } from "./helpers/loaded-modules.ts";

const folder = mkdtempSync(join(tmpdir(), "anecdote-entries-"));
const dist = join(import.meta.dirname, "../dist");

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Paths below dist/ of the modules that Node loads for an entry of the package. */
const loadedBy = (entry: string): readonly string[] =>
  loadedModules(folder, dist, [join(dist, entry)]);

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
