// Checks the one-way order of the rooms under src/ and that no import cycle exists.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const src = join(dirname(fileURLToPath(import.meta.url)), "..", "src");
/** A room may import rooms of lower rows, and of its own row only where SAME_ROW says so. docs/architecture.md draws it. */
const ORDER = [
  ["util"],
  ["mil"],
  ["coreml", "plan"],
  ["grad", "onnx", "chip"],
  ["passes"],
  ["model"],
  ["engine"],
  ["text", "train", "generate", "cluster"],
  ["inspect", "track", "measure"],
  ["server"],
  ["cli"],
];
/** Within a row: who may import whom. */
const SAME_ROW = {
  measure: ["track"],
  train: ["text", "generate"],
  generate: ["text"],
  cluster: ["train"],
};
const rank = new Map(ORDER.flatMap((row, index) => row.map((room) => [room, index])));

function* sources(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      if (entry.name !== "assembly") yield* sources(path);
    } else if (entry.name.endsWith(".ts")) yield path;
  }
}

const IMPORT = /(?:^|\n)\s*(?:import|export)\s+(type\s)?(?:[^"';]*?\sfrom\s+)?"(\.[^"]+)"/g;
const problems = [];
const graph = new Map();
for (const file of sources(src)) {
  const here = relative(src, file);
  const room = here.includes("/") ? here.split("/")[0] : "index";
  const targets = [];
  for (const [, typeOnly, specifier] of readFileSync(file, "utf8").matchAll(IMPORT)) {
    const target = relative(src, resolve(dirname(file), specifier));
    if (!typeOnly) targets.push(target);
    const targetRoom = target.split("/")[0];
    if (room === targetRoom || room === "index") continue;
    if (!rank.has(room)) problems.push(`${here}: room "${room}" is not in the order`);
    else if (!rank.has(targetRoom))
      problems.push(`${here}: imports "${specifier}" outside the rooms`);
    else if (rank.get(targetRoom) > rank.get(room))
      problems.push(`${here}: ${room} may not import ${targetRoom}`);
    else if (rank.get(targetRoom) === rank.get(room) && !SAME_ROW[room]?.includes(targetRoom))
      problems.push(`${here}: ${room} and ${targetRoom} stand in one row`);
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
console.log(`imports: ${graph.size} files, ${ORDER.flat().length} rooms, one way, no cycles`);
