import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { temporaryFolder } from "../helpers/cli.ts";
import { run } from "./in-process.ts";

const REMEDY = /Nothing is published by itself: .*upload the folder with .*hf upload NAME DIR/;

describe("publishing a model", () => {
  it.each([
    ["finetune", "--upload-repo", "me/mine"],
    ["train", "--push-to-hub"],
    ["train", "--hub-model-id", "me/mine"],
    ["fuse", "--model", "a", "--adapter", "b", "--upload-repo", "me/mine"],
    ["convert", "a", "b.gguf", "--upload-repo", "me/mine"],
    ["export", "a", "b", "--upload-repo=me/mine"],
  ])("is refused by %s %s with how to do it oneself", async (...words) => {
    const { code, stdout, stderr } = await run(...words);
    expect(code).toBe(2);
    expect(stdout).toBe("");
    expect(stderr).toMatch(REMEDY);
  });

  it("is refused in a configuration file too", async () => {
    const file = join(temporaryFolder(), "run.yaml");
    writeFileSync(file, "upload_repo: me/mine\n");
    const { code, stderr } = await run("train", "--config", file, "--print-config");
    expect(code).toBe(2);
    expect(stderr).toContain("upload_repo");
    expect(stderr).toMatch(REMEDY);
  });
});
