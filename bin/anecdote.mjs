#!/usr/bin/env node
import { existsSync } from "node:fs";
import * as nodeModule from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
if (existsSync(join(root, "src"))) {
  const { build, isStale } = await import("../scripts/build.mjs");
  // The bundle is built here; single modules are for tests and types, and the simulator builds its own kernels.
  if (isStale({ want: "use" })) await build({ want: "use" });
  const words = process.argv.slice(2);
  if (["dashboard", "serve"].includes(words[0]) || words.includes("--dashboard"))
    await (await import("../scripts/build-page.mjs")).buildPage();
}
// Node 22 and later keep what they compiled, in a folder of the system's temporary files; Node 20 has no such thing.
nodeModule.enableCompileCache?.();
const { main } = await import("../dist/bundle/cli/main.js");
process.exitCode = await main(process.argv.slice(2));
