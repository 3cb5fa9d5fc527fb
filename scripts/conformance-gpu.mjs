// Everything that holds the GPU engine against others and takes a device in software minutes: the suite of ops, plans and
// programs, goldens of PyTorch, stored weights, and steps of both small presets beside cpu. Takes SwiftShader where
// Chromium is installed; with ANECDOTE_TEST_GPU=real this machine's own device, on the presets as they are.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const CHROMIUM = "/usr/lib/chromium";
const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const isReal = process.env.ANECDOTE_TEST_GPU === "real";
const icd = join(CHROMIUM, "vk_swiftshader_icd.json");
if (!isReal && !existsSync(icd)) {
  console.error(
    "skipped: Chromium's SwiftShader is not installed (apt-get install chromium), and ANECDOTE_TEST_GPU=real was not given",
  );
  process.exit(0);
}
const env = {
  ...process.env,
  ANECDOTE_TEST_GPU_ALL: "1",
  ...(!isReal && {
    VK_ICD_FILENAMES: icd,
    LD_LIBRARY_PATH: CHROMIUM,
    XDG_RUNTIME_DIR: process.env.XDG_RUNTIME_DIR ?? mkdtempSync(join(tmpdir(), "anecdote-gpu-")),
  }),
};
const vitest = run("node_modules/vitest/vitest.mjs", [
  ...["run", "test/engine/gpu", "--testTimeout", "900000"],
  ...["ops", "plans", "programs", "storage"].map((name) => `test/conformance/${name}.test.ts`),
  "test/train/goldens.test.ts",
  ...["-t", "gpu|GPU|skipped"],
]);
const sizes = isReal ? [] : ["--batch-size", "1", "--max-seq-length", "32"];
const steps = run("bench/gpu-steps.mjs", ["--steps", process.argv[2] ?? "100", ...sizes]);
process.exitCode = vitest === 0 && steps === 0 ? 0 : 1;

function run(script, argv) {
  const { status } = spawnSync(process.execPath, [join(root, script), ...argv], {
    cwd: root,
    env,
    stdio: "inherit",
  });
  return status ?? 1;
}
