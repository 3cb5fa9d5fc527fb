// Checks the one-way order of the rooms under src/ and that no import cycle exists.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const problems = [];
const src = join(dirname(fileURLToPath(import.meta.url)), "..", "src");
/** The rooms, in the order of the pipeline. A room imports only rooms that stand before it. docs/architecture.md draws it. */
const ROOMS = [
  ["util", "ffi"],
  ["mil", "coreml", "onnx", "grad"],
  ["plan", "chip", "passes", "lower"],
  ["model", "hub", "inspect", "files"],
  ["engine"],
  ["text", "runs", "generate", "track", "cluster"],
  ["train"],
  ["measure"],
  ["server"],
  ["cli"],
].flat();
/**
 * Folders private to their room, each with the files that other rooms may import: its faces. What stands below such a
 * folder is private with it.
 */
const PRIVATE = new Map(
  Object.entries({
    "chip/legality": ["check.ts", "function-rules.ts", "system-rules.ts", "unsupported-ops.ts"],
    "cluster/mpi": [],
    "coreml/generated": [],
    "engine/ane": ["index.ts", "probe.ts"],
    "engine/cpu": ["index.ts", "onnx-runtime/ort-binding.ts"],
    "engine/gpu": ["index.ts"],
    "engine/host": ["compile-budget.ts", "run-sections.ts", "scaled-halves.ts"],
    "engine/reference": ["index.ts", "evaluate.ts"],
    "engine/sim": ["index.ts", "numerics.ts", "probe.ts"],
    "grad/rules": [],
    "inspect/e5": ["index.ts"],
    "inspect/hwx": ["index.ts"],
    "measure/engine-bench": ["index.ts"],
    "measure/self-test": ["outcome.ts", "report.ts", "self-test.ts"],
    "onnx/fuse": [],
    "onnx/import": ["import-model.ts"],
    "onnx/lower": ["index.ts"],
    "track/power": ["index.ts"],
    "train/config": ["foreign-names.ts", "plan-keys.ts", "presets.ts"],
    "train/costs": [],
    "train/evaluate": [],
    "train/run": [],
    "train/step": ["step-plan.ts"],
  }),
);
for (const folder of PRIVATE.keys())
  if (!existsSync(join(src, folder))) problems.push(`${folder}: marked as private and not there`);

/** The private folder that an import enters by another file than a face, if any. */
function enteredFolder(target) {
  for (const [folder, faces] of PRIVATE)
    if (target.startsWith(`${folder}/`) && !faces.includes(target.slice(folder.length + 1)))
      return folder;
  return undefined;
}
const rank = new Map(ROOMS.map((room, index) => [room, index]));

function* sources(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      if (entry.name !== "assembly") yield* sources(path);
    } else if (entry.name.endsWith(".ts")) yield path;
  }
}

const IMPORT = /(?:^|\n)\s*(?:import|export)\s+(?:type\s)?(?:[^"';]*?\sfrom\s+)?"(\.[^"]+)"/g;
for (const { name } of readdirSync(src, { withFileTypes: true }).filter((entry) =>
  entry.isDirectory(),
))
  if (!rank.has(name))
    problems.push(`src/${name}: not a room of the list in scripts/check-imports.mjs`);
for (const room of ROOMS)
  if (!existsSync(join(src, room))) problems.push(`${room}: listed as a room and not there`);
const graph = new Map();
for (const file of sources(src)) {
  const here = relative(src, file);
  const room = here.includes("/") ? here.split("/")[0] : "index";
  const targets = [];
  for (const [, specifier] of readFileSync(file, "utf8").matchAll(IMPORT)) {
    const target = relative(src, resolve(dirname(file), specifier));
    targets.push(target);
    const targetRoom = target.split("/")[0];
    if (room === targetRoom) continue;
    const entered = enteredFolder(target);
    if (entered !== undefined) {
      const faces = PRIVATE.get(entered).join(", ") || "none";
      problems.push(`${here}: ${target} is private to its room; faces of ${entered}: ${faces}`);
    }
    if (room === "index") continue;
    if (!rank.has(targetRoom)) problems.push(`${here}: imports "${specifier}" outside the rooms`);
    else if (rank.get(targetRoom) > rank.get(room))
      problems.push(`${here}: ${room} may not import ${targetRoom} (${target})`);
  }
  graph.set(here, targets);
}

const state = new Map();
function visit(file, trail) {
  if (state.get(file) === "done") return;
  if (state.get(file) === "open") {
    problems.push(`cycle: ${[...trail.slice(trail.indexOf(file)), file].join(" -> ")}`);
    return;
  }
  state.set(file, "open");
  for (const target of graph.get(file) ?? []) visit(target, [...trail, file]);
  state.set(file, "done");
}
for (const file of graph.keys()) visit(file, []);

// npm writes a lockfile without the optional platform packages its registry cannot see, and every later `npm ci` fails.
const lock = JSON.parse(readFileSync(join(src, "..", "package-lock.json"), "utf8")).packages;
for (const [path, entry] of Object.entries(lock)) {
  for (const name of Object.keys(entry.optionalDependencies ?? {})) {
    if (!Object.keys(lock).some((key) => key.endsWith(`node_modules/${name}`)))
      problems.push(`package-lock.json: ${path || "root"} names ${name}, which has no entry`);
  }
  if (entry.resolved) problems.push(`package-lock.json: ${path} carries a download address`);
}

if (problems.length > 0) {
  console.error(problems.join("\n"));
  process.exit(1);
}
console.log(
  `imports: ${graph.size} files, ${ROOMS.length} rooms, one way, no cycles, ${PRIVATE.size} private folders`,
);
