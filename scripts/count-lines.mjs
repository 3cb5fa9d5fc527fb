// Counts lines of code under src/, room by room: without blanks, comments, docstrings and generated files.
//   node scripts/count-lines.mjs [FOLDER ...]     several checkouts stand side by side
// Data that was moved out of code counts where it lies: .json and .txt files below src/, a row a line.
import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";

/** Lines of a TypeScript source that hold a token. Strings, templates and regular expressions may hold comment marks. */
export function codeLines(text) {
  const kept = new Set();
  let line = 0;
  let state = "code";
  /** Depths of braces inside `${}`, the innermost last. */
  const templates = [];
  let before = "";
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    const two = text.slice(i, i + 2);
    if (c === "\n") {
      line++;
      if (state === "line") state = "code";
      continue;
    }
    if (state === "line") continue;
    if (state === "block") {
      if (two === "*/") {
        state = "code";
        i++;
      }
      continue;
    }
    if (/\s/.test(c)) continue;
    if (state === "code" && two === "//") {
      state = "line";
      continue;
    }
    if (state === "code" && two === "/*") {
      state = "block";
      i++;
      continue;
    }
    kept.add(line);
    if (state === "code") {
      if (c === '"' || c === "'" || c === "`") state = c;
      else if (c === "/" && /[(,=:[!&|?{};\n]|^$|return$/.test(before)) state = "/";
      else if (c === "{" && templates.length > 0) templates.push(templates.pop() + 1);
      else if (c === "}" && templates.length > 0) {
        const depth = templates.pop();
        if (depth === 0) state = "`";
        else templates.push(depth - 1);
      }
      before = /\w/.test(c) ? (before + c).slice(-6) : c;
      continue;
    }
    if (c === "\\") i++;
    else if (state === "/" && c === "[") state = "[";
    else if (state === "[" && c === "]") state = "/";
    else if (state === "`" && two === "${") {
      templates.push(0);
      state = "code";
      before = "";
      i++;
    } else if (c === state) {
      before = ")";
      state = "code";
    }
  }
  return kept.size;
}

function* files(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      if (entry.name !== "generated") yield* files(path);
    } else yield path;
  }
}

/** Lines by room. */
export function countRooms(checkout) {
  const src = join(checkout, "src");
  const rooms = new Map();
  for (const path of files(src)) {
    const here = relative(src, path);
    const room = here.includes("/") ? here.split("/")[0] : "(entries)";
    const text = readFileSync(path, "utf8");
    const lines = path.endsWith(".ts")
      ? codeLines(text)
      : text.split("\n").filter((row) => row.trim() !== "" && !row.startsWith("#")).length;
    rooms.set(room, (rooms.get(room) ?? 0) + lines);
  }
  return rooms;
}

if (process.argv[1] === import.meta.filename) {
  const checkouts = process.argv.slice(2);
  if (checkouts.length === 0) checkouts.push(join(import.meta.dirname, ".."));
  const counts = checkouts.map(countRooms);
  const totals = counts.map((rooms) => [...rooms.values()].reduce((sum, lines) => sum + lines, 0));
  const names = [...new Set(counts.flatMap((rooms) => [...rooms.keys()]))].sort();
  const cell = (rooms, name, index) => {
    const lines = rooms.get(name) ?? 0;
    return `${String(lines).padStart(7)} ${((100 * lines) / totals[index]).toFixed(1).padStart(5)} %`;
  };
  for (const name of names)
    console.log(`${name.padEnd(12)}${counts.map((rooms, i) => cell(rooms, name, i)).join("  ")}`);
  console.log(
    `${"all".padEnd(12)}${totals.map((n) => `${String(n).padStart(7)} 100.0 %`).join("  ")}`,
  );
}
