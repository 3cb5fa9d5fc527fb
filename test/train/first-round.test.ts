import { createHash } from "node:crypto";
import { cpSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { openSafetensors } from "../../src/model/safetensors.ts";
import { openFileSource } from "../../src/util/byte-source.ts";
import { runCli, temporaryFolder } from "../helpers/cli.ts";

// Runs that version 0.1.0 (commit aa70b67) stopped after 8 of 12 steps, with the weights it had after 12.
const FIXTURES = fileURLToPath(new URL("../fixtures/first-round", import.meta.url));

/** The arithmetic of these engines does not depend on the processor, so bits must be equal. */
const HASHES = {
  "llama-reference": {
    model: "0f6c95c13972f748f8c5d8aaa79eed429faa4e834a5678cf61660386fdee7047",
    optimizer: "62753756faef97d5d420791a5fcc1ad3f1403bf0477b642d2f835a8186041211",
  },
  // Not the hash of the weights in "whole", which the simulator's own AdamW wrote. Since it updates with the CPU engine's
  // kernel, weights are at most 4.7e-7 of a tensor's largest away from them: last digits.
  "llama-sim-m4": {
    model: "fcf5d13fa67a0459679857beb6c8fb6e96135cd69017c2decfef24809e817fb8",
    optimizer: "bfa098ef5cf8f9b3b455c2d4d25f1cf916ccd839e3df5e825f608f7da477c8b5",
  },
} as const;

function copied(): string {
  const root = temporaryFolder();
  cpSync(FIXTURES, root, { recursive: true });
  return root;
}

function hashOf(...path: readonly string[]): string {
  return createHash("sha256")
    .update(readFileSync(join(...path)))
    .digest("hex");
}

function weightsIn(path: string): ReadonlyMap<string, Float32Array> {
  const source = openFileSource(path);
  try {
    return new Map(
      [...openSafetensors(source).entries.values()].map(({ name, offset, byteLength }) => [
        name,
        new Float32Array(source.read(offset, byteLength).slice().buffer),
      ]),
    );
  } finally {
    source.close();
  }
}

describe("a run of version 0.1.0", () => {
  it.each(Object.entries(HASHES))("%s goes on to the same bits", async (name, hashes) => {
    const root = copied();
    const config = join(name, "config.yaml");
    const result = await runCli(["train", "--config", config, "--resume"], {}, { cwd: root });
    expect(result, result.stderr).toMatchObject({ code: 0 });
    expect(hashOf(root, name, "checkpoint-12", "model.safetensors")).toBe(hashes.model);
    expect(hashOf(root, name, "checkpoint-12", "optimizer.safetensors")).toBe(hashes.optimizer);
  });

  it("gpt2-cpu goes on to the same weights, but for the processor's own last bits", async () => {
    const root = copied();
    const config = join("gpt2-cpu", "config.yaml");
    const result = await runCli(["train", "--config", config, "--resume"], {}, { cwd: root });
    expect(result, result.stderr).toMatchObject({ code: 0 });
    const wanted = weightsIn(join(root, "gpt2-cpu", "whole", "model.safetensors"));
    const found = weightsIn(join(root, "gpt2-cpu", "checkpoint-12", "model.safetensors"));
    expect([...found.keys()].sort()).toEqual([...wanted.keys()].sort());
    for (const [name, numbers] of wanted) {
      const others = found.get(name) ?? new Float32Array();
      expect(others.length, name).toBe(numbers.length);
      // Updates are about 1e-3 each: a lost moment or another batch would show far above this.
      for (const [index, number] of numbers.entries())
        expect(Math.abs((others[index] ?? NaN) - number), name).toBeLessThan(2e-5);
    }
  });

  it("is evaluated and generates as then", async () => {
    const root = copied();
    const evaluated = await runCli(
      ["eval", "--model", "llama-reference", "--json"],
      {},
      { cwd: root },
    );
    expect(evaluated, evaluated.stderr).toMatchObject({ code: 0 });
    const written = await runCli(
      ["generate", "--model", "gpt2-cpu", "--prompt", "the", "--max-tokens", "5", "--json"],
      {},
      { cwd: root },
    );
    expect(written, written.stderr).toMatchObject({ code: 0 });
  });
});
