import { spawn } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { resolve } from "node:path";
import { describe, expect, it } from "vitest";

const root = resolve(import.meta.dirname, "..");
const isBuilt = existsSync(resolve(root, "dist/index.js"));
const examples = readdirSync(resolve(root, "examples")).filter((name) => name.endsWith(".mjs"));

interface Finished {
  readonly code: number | null;
  readonly output: string;
}

function runExample(name: string): Promise<Finished> {
  return new Promise((settle, reject) => {
    const child = spawn(process.execPath, [resolve(root, "examples", name)], { cwd: root });
    let output = "";
    const collect = (chunk: Buffer): void => {
      output += chunk.toString();
    };
    child.stdout.on("data", collect);
    child.stderr.on("data", collect);
    child.on("error", reject);
    child.on("close", (code) => settle({ code, output }));
  });
}

/** What each example shows last. */
const LAST_WORDS: Readonly<Record<string, RegExp>> = {
  "build-a-package.mjs": /reference: class (\d)\ncpu: class \1\n$/,
  "differentiate.mjs": /loss \[ -?\d.*d_w {2}\[\n/s,
  "train-and-sample.mjs": /eval_loss \d.*\nOnce upon a time/s,
};

// They import "anecdote" as its users do, from the build (npm run build).
describe("examples", () => {
  it("are run from the build", () => {
    expect(isBuilt, "node scripts/build.mjs").toBe(true);
  });

  it.each(examples)("%s runs to its end", { timeout: 300_000 }, async (name) => {
    const { code, output } = await runExample(name);
    expect(code, output).toBe(0);
    expect(output).toMatch(LAST_WORDS[name] ?? /./);
  });
});
