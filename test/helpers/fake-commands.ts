import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { vi } from "vitest";
import { temporaryFolder } from "./cli.ts";

/** Shell scripts, or with a "#!" line any other, that stand for the system's commands. */
export function fakeCommands(scripts: Readonly<Record<string, string>>): string {
  const folder = join(temporaryFolder(), "bin");
  mkdirSync(folder);
  for (const [name, script] of Object.entries(scripts)) {
    const path = join(folder, name);
    writeFileSync(path, script.startsWith("#!") ? script : `#!/bin/sh\n${script}\n`);
    chmodSync(path, 0o755);
  }
  return folder;
}

/** PATH with a folder in front. */
export function pathWith(folder: string): string {
  return [folder, process.env["PATH"]].filter(Boolean).join(delimiter);
}

/** Puts fake commands in front of this process's PATH for the rest of the test. */
export function useFakeCommands(scripts: Readonly<Record<string, string>>): string {
  const folder = fakeCommands(scripts);
  vi.stubEnv("PATH", pathWith(folder));
  return folder;
}
