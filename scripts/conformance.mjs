// Runs suites that others wrote through the same code as `run` and `convert`: src/measure/conformance.
import { build, isStale } from "./build.mjs";

if (isStale()) await build();
const { main } = await import("../dist/measure/conformance/main.js");
try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (typeof error?.code !== "string") throw error;
  console.error(`error: ${error.message}`);
  process.exitCode = 2;
}
