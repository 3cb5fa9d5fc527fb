import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { AnecdoteError } from "./errors.ts";

/**
 * Where this code runs from: src/ under the test runner, dist/ where every source has a module of its own, and
 * dist/bundle/ in use, where modules are joined and stand in other folders than their sources.
 */
const HERE = import.meta.url;

/** The package's folder: the nearest above with a package.json, however deep the build put this code. */
const ROOT = nearestPackage(HERE);

const IS_SOURCE = HERE.startsWith(new URL("src/", ROOT).href);
/** Where threads and processes of this code are started: tests start them as users do, and a bundle loads in half the time. */
const COMPILED =
  IS_SOURCE || HERE.startsWith(new URL("dist/bundle/", ROOT).href) ? "dist/bundle" : "dist";

function nearestPackage(url: string): URL {
  for (let at = new URL(".", url); ; at = new URL("..", at)) {
    if (existsSync(new URL("package.json", at))) return at;
    if (at.pathname === "/" || new URL("..", at).href === at.href) return new URL("../../", url);
  }
}

/** The URL of a file of the package, by its path from the package's folder. */
export function packageUrl(path: string): URL {
  return new URL(path, ROOT);
}

/**
 * The URL of what the build made of a source, by its path below src/: the module of a thread or process (.ts), or a
 * WebAssembly module. The build finds modules to bundle by looking for calls of this function with a .ts path.
 */
export function compiledUrl(sourcePath: string): URL {
  if (!sourcePath.endsWith(".ts")) return packageUrl(`dist/${sourcePath}`);
  return packageUrl(`${COMPILED}/${sourcePath.replace(/\.ts$/, ".js")}`);
}

/** The URL of a table (.txt), by its path below src/. The build copies tables to dist/. */
export function tableUrl(sourcePath: string): URL {
  return packageUrl(`${IS_SOURCE ? "src" : "dist"}/${sourcePath}`);
}

/**
 * Builds the kernels that a checkout has not built yet; it tells of it on stderr. Returns whether it did: an installed
 * package has no sources, and all that can be made of them. Throws `AnecdoteError` `build.stopped` where the build was
 * ended, as by Ctrl-C: whoever stops it does not want the next one.
 */
export function buildLate(): boolean {
  const script = packageUrl("scripts/build.mjs");
  if (!existsSync(packageUrl("src")) || !existsSync(script)) return false;
  const { status, signal } = spawnSync(process.execPath, [fileURLToPath(script), "--kernels"], {
    stdio: ["ignore", 2, 2],
  });
  if (signal !== null) {
    throw new AnecdoteError("build.stopped", `the build of kernels was ended by ${signal}`);
  }
  return status === 0;
}
