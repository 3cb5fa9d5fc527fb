#!/usr/bin/env node
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
if (existsSync(join(root, "src"))) {
  const { build, isStale } = await import("../scripts/build.mjs");
  // The simulator builds its kernels when it first runs.
  if (isStale({ kernels: "needed" })) await build({ kernels: "needed" });
}
const { main } = await import("../dist/cli/main.js");
process.exitCode = await main(process.argv.slice(2));
