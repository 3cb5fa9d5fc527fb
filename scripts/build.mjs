// Builds dist/ from src/: TypeScript with tsc, WebAssembly kernels with AssemblyScript, tables (.txt) as they are.
// Does nothing when dist/ is newer than every source, so `npm start`, `npm test` and the bin can always call it.
import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const require = createRequire(import.meta.url);
const STAMP = join(root, "dist", ".built");
const LOCK = join(root, "dist", ".building");
const LOCK_LIMIT_MS = 15 * 60_000;

function* files(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* files(path);
    else yield path;
  }
}

function newest(paths) {
  let newestMs = 0;
  for (const path of paths) newestMs = Math.max(newestMs, statSync(path).mtimeMs);
  return newestMs;
}

function run(command, args) {
  const result = spawnSync(process.execPath, [command, ...args], {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
  });
  if (result.status !== 0) throw new Error(`anecdote: build failed in ${args.join(" ")}`);
}

/** The path of a package's command, whether or not npm linked node_modules/.bin. */
function binOf(packageName, binName) {
  for (const folder of require.resolve.paths(packageName)) {
    const manifestPath = join(folder, packageName, "package.json");
    if (!existsSync(manifestPath)) continue;
    const { bin } = JSON.parse(readFileSync(manifestPath, "utf8"));
    return join(folder, packageName, typeof bin === "string" ? bin : bin[binName]);
  }
  throw new Error(`anecdote: ${packageName} is not installed; run npm ci`);
}

/** The list of every file under src/: a deleted or added source also makes dist/ stale. */
const sourceList = () =>
  [...files(join(root, "src"))].map((path) => path.slice(root.length + 1)).sort();

export function isStale() {
  if (!existsSync(join(root, "src"))) return false; // an installed package ships dist/ only
  if (!existsSync(STAMP)) return true;
  const inputs = [
    ...sourceList().map((path) => join(root, path)),
    join(root, "tsconfig.json"),
    join(root, "package.json"),
    fileURLToPath(import.meta.url),
  ];
  return (
    newest(inputs) > statSync(STAMP).mtimeMs ||
    readFileSync(STAMP, "utf8") !== sourceList().join("\n")
  );
}

/** Builds; processes that find dist/ stale at the same time wait for the first. */
export function build() {
  mkdirSync(join(root, "dist"), { recursive: true });
  const deadlineMs = Date.now() + LOCK_LIMIT_MS;
  while (!takeLock()) {
    if (Date.now() > deadlineMs)
      throw new Error(`anecdote: another build holds ${LOCK}; remove it if there is none`);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
    if (!existsSync(LOCK) && !isStale()) return;
  }
  try {
    compile();
  } finally {
    rmSync(LOCK, { force: true });
  }
}

/** Whether the lock is ours now; one whose process is gone is taken over. */
function takeLock() {
  try {
    writeFileSync(LOCK, String(process.pid), { flag: "wx" });
    return true;
  } catch (error) {
    if (error.code !== "EEXIST") throw error;
  }
  try {
    process.kill(Number(readFileSync(LOCK, "utf8")), 0);
  } catch (error) {
    if (error.code === "ESRCH") rmSync(LOCK, { force: true });
  }
  return false;
}

/** What came of sources that are gone. */
function removeLeftovers(before, sources) {
  const kept = new Set(sources);
  for (const source of before) {
    if (kept.has(source) || source === "") continue;
    const base = join(root, "dist", source.slice("src/".length).replace(/\.ts$/, ""));
    const kernels = base.replace("/assembly/", "/");
    const made = [`${base}.js`, `${base}.d.ts`, `${kernels}.wasm`, `${kernels}.relaxed.wasm`];
    for (const path of made) rmSync(path, { force: true });
  }
}

/** Kernels that gain from relaxed SIMD are also built with it, as NAME.relaxed.wasm. */
const RELAXED = ["src/engine/sim/assembly/grid.ts"];

function compileKernels(source) {
  const base = join("dist", source.slice("src/".length).replace("/assembly/", "/")).slice(0, -3);
  const features = ["simd", "threads"];
  const outputs = [[`${base}.wasm`, features]];
  if (RELAXED.includes(source))
    outputs.push([`${base}.relaxed.wasm`, [...features, "relaxed-simd"]]);
  // Kernels import what stands in assembly/shared/.
  const newestMs = newest([...files(join(root, dirname(source)))]);
  for (const [output, enabled] of outputs) {
    const path = join(root, output);
    if (existsSync(path) && statSync(path).mtimeMs > newestMs) continue;
    mkdirSync(dirname(path), { recursive: true });
    run(binOf("assemblyscript", "asc"), [
      ...[source, "-o", output, "-O3", "--noAssert", "--runtime", "stub"],
      ...enabled.flatMap((feature) => ["--enable", feature]),
      ...["--importMemory", "--sharedMemory", "--maximumMemory", "65536", "--use", "abort="],
    ]);
  }
}

function compile() {
  const startedMs = Date.now();
  const before = existsSync(STAMP) ? readFileSync(STAMP, "utf8") : "";
  const sources = sourceList();
  removeLeftovers(before.split("\n"), sources);
  for (const source of sources) {
    if (/\/assembly\/[^/]+\.ts$/.test(source)) compileKernels(source);
  }
  run(binOf("typescript", "tsc"), ["-p", "tsconfig.json"]);
  for (const source of sources.filter((path) => path.endsWith(".txt")))
    copyFileSync(join(root, source), join(root, "dist", source.slice("src/".length)));
  writeFileSync(STAMP, sources.join("\n"));
  if (process.env.CI || process.stderr.isTTY)
    process.stderr.write(`built dist/ in ${((Date.now() - startedMs) / 1000).toFixed(1)} s\n`);
}

if (process.argv[1] === fileURLToPath(import.meta.url) && isStale()) build();
