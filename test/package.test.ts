import { spawnSync } from "node:child_process";
import { copyFileSync, cpSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { temporaryFolder } from "./helpers/cli.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const TIMEOUT_MS = 240_000;
const PROGRAM = `program(1.3)
{
  func main<ios17>(tensor<fp16, [4, 8]> x) {
    tensor<fp16, [4, 8]> y = relu(x = x);
  } -> (y);
}
`;

function runHere(folder: string, command: string, args: readonly string[]) {
  const environment = { ...process.env, NO_COLOR: "1" };
  return spawnSync(command, args, { cwd: folder, encoding: "utf8", env: environment });
}

/** Kernels of the build in use: compiling them takes most of a first build's time, and is the same for each of them. */
function takeKernels(clone: string, isTaken: (path: string) => boolean): void {
  for (const entry of readdirSync(join(ROOT, "dist"), { recursive: true })) {
    const path = String(entry);
    // With what they were made of, by which the build knows them.
    if (!/\.wasm(\.sources)?$/.test(path) || !isTaken(path)) continue;
    mkdirSync(join(clone, "dist", path, ".."), { recursive: true });
    copyFileSync(join(ROOT, "dist", path), join(clone, "dist", path));
  }
}

describe("a clone that nobody has built", () => {
  it(
    "says at once what it does, and builds the simulator's kernels when they are first used",
    { timeout: TIMEOUT_MS },
    () => {
      const clone = join(temporaryFolder(), "clone");
      for (const name of ["bin", "scripts", "src", "package.json", "tsconfig.json"]) {
        cpSync(join(ROOT, name), join(clone, name), { recursive: true });
      }
      symlinkSync(join(ROOT, "node_modules"), join(clone, "node_modules"));
      writeFileSync(join(clone, "relu.mil"), PROGRAM);
      const isLate = (path: string): boolean => /sim[/\\]elementwise\./.test(path);
      takeKernels(clone, (path) => !isLate(path));
      const kernels = (): readonly string[] =>
        readdirSync(join(clone, "dist"), { recursive: true })
          .map(String)
          .filter((path) => path.endsWith(".wasm") && isLate(path));
      const bin = join(clone, "bin", "anecdote.mjs");
      const first = runHere(clone, process.execPath, [bin, "run", "relu.mil", "--random", "1"]);
      expect(first.status, first.stderr).toBe(0);
      expect(first.stderr).toMatch(/^building dist\/ from src\//);
      expect(kernels()).toEqual([]);
      const simulated = runHere(clone, process.execPath, [
        ...[bin, "run", "relu.mil", "--random", "1", "--engine", "sim:m4"],
      ]);
      expect(simulated.status, simulated.stderr).toBe(0);
      expect(simulated.stderr).toMatch(/building .*kernel/);
      expect(kernels()).toHaveLength(1);
      const again = runHere(clone, process.execPath, [
        ...[bin, "run", "relu.mil", "--random", "1", "--engine", "sim:m4"],
      ]);
      expect(again.status).toBe(0);
      expect(again.stderr).not.toContain("building");
      expect(again.stdout).toBe(simulated.stdout);
    },
  );
});
