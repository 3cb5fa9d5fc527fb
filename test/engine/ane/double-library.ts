import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export type DoubleName = "e5rt" | "objc" | "ioreport";

const SOURCES = fileURLToPath(new URL("../../doubles", import.meta.url));

// Without a C compiler the tests of the drivers fail, for they would be green without testing.
if (spawnSync("cc", ["--version"]).status !== 0) {
  throw new Error("there is no C compiler (cc), which the tests of the drivers need: install gcc");
}

const WARNINGS_AND_KIND = [
  ..."-std=gnu11 -O1 -Wall -Wextra -Werror".split(" "),
  ..."-shared -fPIC -fvisibility=hidden".split(" "),
];

/** Builds a double with the system's compiler, once for every state of its sources. */
export function buildDouble(name: DoubleName, definitions: readonly string[] = []): string {
  const hash = createHash("sha256").update(definitions.join());
  for (const file of ["orders.h", "double.h", `${name}.c`])
    hash.update(readFileSync(join(SOURCES, file)));
  const folder = join(tmpdir(), "anecdote-doubles");
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `${name}-${hash.digest("hex").slice(0, 16)}.so`);
  if (existsSync(path)) return path;
  const aside = `${path}.${process.pid}`;
  const { status, stderr } = spawnSync(
    "cc",
    [...WARNINGS_AND_KIND, ...definitions, "-o", aside, join(SOURCES, `${name}.c`)],
    { encoding: "utf8" },
  );
  if (status !== 0) throw new Error(`cc: ${stderr}`);
  renameSync(aside, path);
  return path;
}

interface Koffi {
  load(path: string): { func(prototype: string): (...operands: readonly unknown[]) => unknown };
}

export type DoubleOrder =
  | ("fail" | "hang" | "garbage" | "refuse" | "trace" | "delay" | "arithmetic")
  | ("missing" | "surfaces");

/** A double's own functions: orders, and what it saw. */
export interface Double {
  readonly path: string;
  order(key: DoubleOrder, value: string): void;
  count(what: string): number;
  /** Sets the counts of live handles and of the most operations back. */
  forget(): void;
  /** Breaches of the protocol since the last time asked, and the first of them. */
  violations(): { readonly count: number; readonly first: string };
}

export function openDouble(name: DoubleName, definitions: readonly string[] = []): Double {
  const path = buildDouble(name, definitions);
  const koffi = createRequire(import.meta.url)("koffi") as Koffi;
  const library = koffi.load(path);
  const order = library.func("void anecdote_double_control(const char *, const char *)");
  const count = library.func("int64_t anecdote_double_count(const char *)");
  const violations = library.func("int64_t anecdote_double_violations()");
  const first = library.func("const char *anecdote_double_first_violation()");
  const forgetCounts = library.func("void anecdote_double_forget_counts()");
  const forget = library.func("void anecdote_double_forget_violations()");
  return {
    path,
    order: (key, value) => void order(key, value),
    forget: () => void forgetCounts(),
    count: (what) => Number(count(what)),
    violations: () => {
      const seen = { count: Number(violations()), first: String(first()) };
      forget();
      return seen;
    },
  };
}
