import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { asTyped, typedCommand, withCommand } from "../../src/cli/typed-command.ts";
import { temporaryFolder } from "../helpers/cli.ts";

/** A clone with its bin, a folder below it and a project that has it installed. */
function places(): { readonly clone: string; readonly script: string; readonly project: string } {
  const folder = temporaryFolder();
  const clone = join(folder, "clone");
  const project = join(folder, "project");
  mkdirSync(join(clone, "bin"), { recursive: true });
  mkdirSync(join(clone, "docs"));
  mkdirSync(join(project, "node_modules"), { recursive: true });
  for (const root of [clone, project]) writeFileSync(join(root, "package.json"), "{}");
  const script = join(clone, "bin", "anecdote.mjs");
  writeFileSync(script, "");
  return { clone, script, project };
}

describe("the command that messages tell", () => {
  it("is npx anecdote in a clone and below it, where npx finds the clone itself", () => {
    const { clone, script } = places();
    for (const folder of [clone, join(clone, "docs")])
      expect(typedCommand({ script, folder, environment: {} })).toBe("npx anecdote");
  });

  it("is the path of the clone's bin elsewhere, never a name that anybody could publish", () => {
    const { clone, script, project } = places();
    expect(typedCommand({ script, folder: join(clone, ".."), environment: {} })).toBe(
      "node clone/bin/anecdote.mjs",
    );
    expect(typedCommand({ script, folder: project, environment: {} })).toBe(
      "node ../clone/bin/anecdote.mjs",
    );
    const far = join(project, "node_modules");
    mkdirSync(join(far, "x"));
    writeFileSync(join(far, "x", "package.json"), "{}");
    expect(typedCommand({ script, folder: join(far, "x"), environment: {} })).toBe(
      `node ${script}`,
    );
  });

  it("is npx anecdote in a project that has it installed", () => {
    const { clone, script, project } = places();
    symlinkSync(clone, join(project, "node_modules", "anecdote"));
    expect(typedCommand({ script, folder: project, environment: {} })).toBe("npx anecdote");
  });

  it("is anecdote where a link of that name is on the path, and the link's path where it is not", () => {
    const { clone, script } = places();
    const bin = join(clone, "..", "bin");
    mkdirSync(bin);
    const link = join(bin, "anecdote");
    symlinkSync(script, link);
    const started = { script: link, folder: bin };
    expect(typedCommand({ ...started, environment: { PATH: bin } })).toBe("anecdote");
    expect(typedCommand({ ...started, environment: {} })).toBe(link);
  });

  it("replaces commands in a text and leaves versions, paths and prose", () => {
    expect(withCommand("`anecdote doctor` makes one", "npx anecdote")).toBe(
      "`npx anecdote doctor` makes one",
    );
    expect(withCommand("Examples:\n  anecdote train --resume", "node bin/anecdote.mjs")).toBe(
      "Examples:\n  node bin/anecdote.mjs train --resume",
    );
    for (const text of ["anecdote 0.1.0", "/tmp/anecdote x", "Anecdote trains", "npx anecdote ops"])
      expect(withCommand(text, "npx anecdote")).toBe(text);
    expect(asTyped("anecdote ops")).toBe("anecdote ops");
  });
});
