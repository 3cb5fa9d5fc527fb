import { execFileSync, spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { parseEvents, temporaryFolder, tinyTraining } from "./helpers/cli.ts";

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

/** Packages of the checkout, where a package beside them finds them. */
function linkPackages(folder: string, names: readonly string[]): void {
  for (const name of names) {
    const target = join(folder, name);
    mkdirSync(join(target, ".."), { recursive: true });
    if (!existsSync(target)) symlinkSync(join(ROOT, "node_modules", name), target);
  }
}

interface Manifest {
  readonly dependencies: Readonly<Record<string, string>>;
  readonly optionalDependencies: Readonly<Record<string, string>>;
}

describe("the package as npm makes it", () => {
  it(
    "is whole once the build was called, and works without sources",
    { timeout: TIMEOUT_MS },
    () => {
      // Scripts of packages do not run here (.npmrc): nothing but this call builds.
      execFileSync(process.execPath, [join(ROOT, "scripts", "build.mjs")], { stdio: "ignore" });
      const folder = temporaryFolder();
      const packed = runHere(ROOT, "npm", ["pack", "--json", "--pack-destination", folder]);
      expect(packed.status, packed.stderr).toBe(0);
      const [archive] = readdirSync(folder);
      const modules = join(folder, "node_modules");
      mkdirSync(modules);
      execFileSync("tar", ["-xzf", join(folder, archive ?? ""), "-C", modules]);
      execFileSync("mv", [join(modules, "package"), join(modules, "anecdote")]);
      const installed = join(modules, "anecdote");
      expect(existsSync(join(installed, "src"))).toBe(false);
      expect(existsSync(join(installed, "node_modules"))).toBe(false);
      expect(statSync(join(installed, "bin", "anecdote.mjs")).mode & 0o111).not.toBe(0);
      const manifest = JSON.parse(
        readFileSync(join(installed, "package.json"), "utf8"),
      ) as Manifest;
      const needed = { ...manifest.dependencies, ...manifest.optionalDependencies };
      linkPackages(modules, Object.keys(needed));

      const bin = join(installed, "bin", "anecdote.mjs");
      const version = runHere(folder, process.execPath, [bin, "--version"]);
      expect([version.status, version.stderr]).toEqual([0, ""]);
      const trained = runHere(folder, process.execPath, [
        ...[bin, ...tinyTraining(folder, join(folder, "run"), ["--max-steps", "2"])],
        ...["--engine", "cpu", "--json"],
      ]);
      expect(trained.status, trained.stderr).toBe(0);
      expect(parseEvents(trained.stdout).at(-1)).toMatchObject({ kind: "end", step: 2 });
      // The simulator's kernels are in it.
      writeFileSync(join(folder, "relu.mil"), PROGRAM);
      const ran = runHere(folder, process.execPath, [
        ...[bin, "run", "relu.mil", "--engine", "sim:m4", "--random", "1"],
      ]);
      expect([ran.status, ran.stderr]).toEqual([0, expect.not.stringContaining("build")]);
      for (const entry of ["anecdote", "anecdote/inspect", "anecdote/measure"]) {
        const script = `console.log(Object.keys(await import("${entry}")).length)`;
        const imported = runHere(folder, process.execPath, ["--input-type=module", "-e", script]);
        expect(Number(imported.stdout), `${entry}: ${imported.stderr}`).toBeGreaterThan(3);
      }
    },
  );
});

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
      const kernels = (): readonly string[] =>
        readdirSync(join(clone, "dist"), { recursive: true })
          .map(String)
          .filter((path) => path.endsWith(".wasm") && path.includes("sim"));
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
      expect(kernels().length).toBeGreaterThan(0);
      const again = runHere(clone, process.execPath, [
        ...[bin, "run", "relu.mil", "--random", "1", "--engine", "sim:m4"],
      ]);
      expect(again.status).toBe(0);
      expect(again.stderr).not.toContain("building");
      expect(again.stdout).toBe(simulated.stdout);
    },
  );
});
