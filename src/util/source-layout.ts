import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

/**
 * The URL of a compiled file that stands beside `here`. Code runs from dist/ in use and from src/ under the
 * test runner; worker threads and .wasm files exist only in dist/, where the same build put them.
 */
export function compiledUrl(here: string, relativePath: string): URL {
  const url = new URL(relativePath.replace(/\.ts$/, ".js"), here);
  url.pathname = url.pathname.replace(/\/src\/(?!.*\/src\/)/, "/dist/");
  return url;
}

/**
 * Builds what a checkout has not built yet; it tells of it on stderr. Returns whether it did: an installed package has
 * no sources, and all that can be made of them.
 */
export function buildLate(): boolean {
  const root = new URL("../../", import.meta.url);
  const script = fileURLToPath(new URL("scripts/build.mjs", root));
  if (!existsSync(new URL("src", root)) || !existsSync(script)) return false;
  return spawnSync(process.execPath, [script], { stdio: ["ignore", 2, 2] }).status === 0;
}
