import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { temporaryFolder } from "../helpers/cli.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

it("docs/finetune.md: its recipe runs as it stands, word for word", { timeout: 300_000 }, () => {
  const text = readFileSync(join(ROOT, "docs", "finetune.md"), "utf8");
  const blocks = [...text.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, block = ""]) => block);
  expect(blocks).toHaveLength(6);
  const folder = temporaryFolder();
  const bin = join(folder, "bin");
  mkdirSync(bin);
  const command = join(bin, "anecdote");
  writeFileSync(
    command,
    `#!/bin/sh\nexec "${process.execPath}" "${join(ROOT, "bin", "anecdote.mjs")}" "$@"\n`,
  );
  chmodSync(command, 0o755);
  const outputs = blocks.map((block) => {
    const { status, stdout, stderr } = spawnSync("sh", ["-e", "-c", block], {
      cwd: folder,
      encoding: "utf8",
      env: { ...process.env, PATH: `${bin}:${process.env["PATH"] ?? ""}`, NO_COLOR: "1" },
    });
    expect(status, `${block}\n${stdout}\n${stderr}`).toBe(0);
    return { stdout, stderr };
  });
  const [, , check, tuned, talk, fused] = outputs;
  expect(check?.stdout).toContain("The cat says meow.<|endoftext|>");
  expect(check?.stdout).toContain("32 rows, 32 examples");
  const told = `${tuned?.stdout ?? ""}${tuned?.stderr ?? ""}`;
  const losses = [...told.matchAll(/eval_loss (\d+\.\d+)/g)].map(([, loss]) => Number(loss));
  expect(losses.at(-1)).toBeLessThan(0.5 * (losses[0] ?? 0));
  expect(talk?.stdout).toContain("The dog says woof.");
  expect(fused?.stdout).toContain("The dog says woof.");
  const config = JSON.parse(
    readFileSync(join(folder, "animals", "tokenizer_config.json"), "utf8"),
  ) as { chat_template?: string };
  expect(config.chat_template).toBe(
    readFileSync(join(folder, "animals", "chat_template.jinja"), "utf8"),
  );
  for (const name of [
    "animals/model.safetensors",
    "animals.gguf",
    "animals.mlpackage",
    "animals.onnx",
  ])
    expect(existsSync(join(folder, name)), name).toBe(true);
});
