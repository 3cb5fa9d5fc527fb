// Builds dist/ from src/: a module for each source and its types with tsc, the bundle that is used and shipped with
// esbuild, WebAssembly kernels with AssemblyScript, tables (.txt) as they are.
// Does nothing when dist/ is newer than every source, so `npm start`, `npm test` and the bin can always call it.
//
// Types are not checked here (npm run types does that): whoever starts a clone waits for as little as possible. For
// the same reason the bin builds the bundle alone, without the simulator's kernels, which the simulator asks for when
// it first runs.
import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { dirname, join, sep } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { buildPage, isPageStale } from "./build-page.mjs";
import { bundle } from "./bundle.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const require = createRequire(import.meta.url);
/** Written after each output with the list of its sources. */
const STAMPS = {
  modules: join(root, "dist", ".built"),
  bundle: join(root, "dist", "bundle", ".built"),
};
const LOCK = join(root, "dist", ".building");
const LOCK_LIMIT_MS = 15 * 60_000;

/**
 * Every file below a folder, with when it was written. The bin asks before every command of a checkout: one question
 * to the system for each name, and paths joined by hand, take a third of the time.
 */
function filesIn(folder, found = []) {
  for (const name of readdirSync(folder)) {
    const path = `${folder}${sep}${name}`;
    const status = statSync(path, { throwIfNoEntry: false });
    if (status === undefined) continue;
    if (status.isDirectory()) filesIn(path, found);
    else found.push({ path, mtimeMs: status.mtimeMs });
  }
  return found;
}

const pathsIn = (folder) => filesIn(folder).map(({ path }) => path);

function newest(paths) {
  let newestMs = 0;
  for (const path of paths) newestMs = Math.max(newestMs, statSync(path).mtimeMs);
  return newestMs;
}

/** Runs a command of a package; what it prints goes to stderr, since stdout is the caller's. */
async function run(command, args) {
  const { spawn } = await import("node:child_process");
  await new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [command, ...args], {
      cwd: root,
      stdio: ["ignore", 2, 2],
    });
    child.on("error", reject);
    child.on("exit", (code, signal) => {
      if (code === 0) resolve();
      else reject(new Error(`anecdote: build failed (${signal ?? code}) in ${args.join(" ")}`));
    });
  });
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
function sourceList() {
  const found = filesIn(join(root, "src"));
  const paths = found.map(({ path }) => path.slice(root.length + 1)).sort();
  return { paths, newestMs: found.reduce((most, { mtimeMs }) => Math.max(most, mtimeMs), 0) };
}

/** Outputs older than their sources. `want`: "all", "use" for what the bin loads, or "kernels" alone. */
function staleOutputs({ paths: sources, newestMs: newestSourceMs }, want) {
  if (want === "kernels") return [];
  const inputs = ["tsconfig.json", "package.json", "scripts/build.mjs", "scripts/bundle.mjs"];
  const newestMs = Math.max(newestSourceMs, newest(inputs.map((path) => join(root, path))));
  return (want === "all" ? ["modules", "bundle"] : ["bundle"]).filter((output) => {
    const stamp = STAMPS[output];
    return (
      !existsSync(stamp) ||
      newestMs > statSync(stamp).mtimeMs ||
      readFileSync(stamp, "utf8") !== sources.join("\n")
    );
  });
}

/** Whether what is wanted of dist/ is older than src/, or missing. */
export function isStale({ want = "all" } = {}) {
  if (!existsSync(join(root, "src"))) return false; // an installed package ships dist/ only
  const sources = sourceList();
  return (
    staleOutputs(sources, want).length > 0 ||
    missingKernels(sources.paths, want).length > 0 ||
    (want === "all" && isPageStale())
  );
}

/** Builds what is wanted; processes that find dist/ stale at the same time wait for the first. */
export async function build({ want = "all", isClean = false } = {}) {
  mkdirSync(join(root, "dist"), { recursive: true });
  const deadlineMs = Date.now() + LOCK_LIMIT_MS;
  let isTold = false;
  while (!takeLock()) {
    if (Date.now() > deadlineMs)
      throw new Error(`anecdote: another build holds ${LOCK}; remove it if there is none`);
    if (!isTold) process.stderr.write("waiting for another build of dist/ …\n");
    isTold = true;
    await sleep(200);
    if (!existsSync(LOCK) && !isStale({ want })) return;
  }
  try {
    await compile(want, isClean);
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
    for (const path of made.flatMap((one) => [one, `${one}.sources`]))
      rmSync(path, { force: true });
  }
}

/** Kernels that gain from relaxed SIMD are also built with it, as NAME.relaxed.wasm. */
const RELAXED = ["src/engine/sim/assembly/grid.ts", "src/engine/host/assembly/kernels.ts"];

/** Kernels that wait for their first use. */
const LATE = "src/engine/sim/";

/** What is to be made of the kernels' sources: one record for each module. */
function kernelModules(sources) {
  return sources
    .filter((source) => /\/assembly\/[^/]+\.ts$/.test(source))
    .flatMap((source) => {
      const base = join("dist", source.slice("src/".length).replace("/assembly/", "/")).slice(
        0,
        -3,
      );
      const features = ["simd", "threads"];
      const modules = [{ source, output: `${base}.wasm`, features }];
      if (RELAXED.includes(source)) {
        const relaxed = [...features, "relaxed-simd"];
        modules.push({ source, output: `${base}.relaxed.wasm`, features: relaxed });
      }
      return modules;
    });
}

/** What a module is made of: its source, assembly/shared/ and features. Times do not survive a copy of dist/. */
function digestOf({ source, features }) {
  const shared = join(root, dirname(source), "shared");
  const hash = createHash("sha256").update(features.join());
  for (const path of [join(root, source), ...(existsSync(shared) ? pathsIn(shared).sort() : [])])
    hash.update(`\n${path.slice(root.length)}\n`).update(readFileSync(path));
  return hash.digest("hex");
}

const digestPath = ({ output }) => join(root, `${output}.sources`);

/** Modules that are not there, or made of other sources than those that stand here. */
function missingKernels(sources, want) {
  return kernelModules(sources).filter((module) => {
    if (want === "use" && module.source.startsWith(LATE)) return false;
    const path = digestPath(module);
    return (
      !existsSync(join(root, module.output)) ||
      !existsSync(path) ||
      readFileSync(path, "utf8") !== digestOf(module)
    );
  });
}

/** Written aside and renamed: a process that loads the module meanwhile finds a whole one. */
async function compileKernel(module) {
  const { source, output, features } = module;
  const digest = digestOf(module);
  const aside = output.replace(/([^/]+)$/, ".$1");
  mkdirSync(join(root, dirname(output)), { recursive: true });
  await run(binOf("assemblyscript", "asc"), [
    ...[source, "-o", aside, "-O3", "--noAssert", "--runtime", "stub"],
    ...features.flatMap((feature) => ["--enable", feature]),
    ...["--importMemory", "--sharedMemory", "--maximumMemory", "65536", "--use", "abort="],
    // Vectors cross between our own modules only.
    ...["--disableWarning", "112"],
  ]);
  rmSync(digestPath(module), { force: true });
  renameSync(join(root, aside), join(root, output));
  writeFileSync(digestPath(module), digest);
}

const compileModules = () => run(binOf("typescript", "tsc"), ["-p", "tsconfig.json", "--noCheck"]);

function copyTables(sources) {
  for (const source of sources.filter((path) => path.endsWith(".txt"))) {
    const path = join(root, "dist", source.slice("src/".length));
    mkdirSync(dirname(path), { recursive: true });
    copyFileSync(join(root, source), path);
  }
}

/** Runs tasks, as many at a time as there are processors. */
async function runAll(tasks) {
  const waiting = [...tasks];
  const work = async () => {
    for (let task = waiting.shift(); task !== undefined; task = waiting.shift()) await task();
  };
  const workers = Math.min(tasks.length, availableParallelism());
  const ends = await Promise.allSettled(Array.from({ length: workers }, work));
  const failed = ends.find((end) => end.status === "rejected");
  if (failed !== undefined) throw failed.reason;
}

async function compile(want, isClean) {
  const startedMs = Date.now();
  const listed = sourceList();
  const sources = listed.paths;
  const stale = isClean && want === "all" ? ["modules", "bundle"] : staleOutputs(listed, want);
  const now = missingKernels(sources, want);
  // An outdated kernel must not be run; without it the simulator makes a new one.
  for (const { output } of missingKernels(sources, "all"))
    rmSync(join(root, output), { force: true });
  // The command line builds the page when a command shows it.
  const needsPage = want === "all" && isPageStale();
  const parts = [
    ...(stale.includes("modules") ? ["TypeScript"] : []),
    ...(needsPage ? ["the page"] : []),
    ...(stale.includes("bundle") ? ["the bundle"] : []),
    ...(now.length === 0
      ? []
      : [`${now.length} WebAssembly ${now.length === 1 ? "kernel" : "kernels"}`]),
  ];
  process.stderr.write(`building dist/ from src/: ${parts.join(", ")} …\n`);
  if (stale.includes("modules") && existsSync(STAMPS.modules))
    removeLeftovers(readFileSync(STAMPS.modules, "utf8").split("\n"), sources);
  if (stale.length > 0) copyTables(sources);
  const work = { modules: compileModules, bundle: () => bundle(root, sources, { isClean }) };
  await runAll([
    ...(needsPage ? [buildPage] : []),
    ...stale.map((output) => work[output]),
    ...now.map((module) => () => compileKernel(module)),
  ]);
  for (const output of stale) writeFileSync(STAMPS[output], sources.join("\n"));
  process.stderr.write(`built in ${((Date.now() - startedMs) / 1000).toFixed(1)} s\n`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const isClean = process.argv.includes("--clean");
  const want = process.argv.includes("--kernels") ? "kernels" : "all";
  if (isClean || isStale({ want })) await build({ want, isClean });
}
