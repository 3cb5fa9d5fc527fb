import { existsSync, realpathSync } from "node:fs";
import { basename, delimiter, dirname, join, relative, resolve, sep } from "node:path";

/** How a process was started, as far as it tells what its user can type. */
export interface StartedAs {
  /** The script, as `process.argv[1]` has it: links are not followed. */
  readonly script: string;
  readonly folder: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/**
 * What a user types in this folder to start this program. `npx anecdote` is told only where npx finds this very
 * copy: elsewhere it would look for a package of that name, which could be anybody's.
 */
export function typedCommand({ script, folder, environment }: StartedAs): string {
  const name = basename(script);
  if (name !== "anecdote" && name !== "anecdote.mjs") return "anecdote";
  if (environment["npm_command"] === "exec") return "npx anecdote";
  const root = resolve(dirname(realOf(script)), "..");
  if (packageRootOf(folder) === root) return "npx anecdote";
  const installed = join(packageRootOf(folder) ?? folder, "node_modules", "anecdote");
  if (realOf(installed) === root) return "npx anecdote";
  if (name === "anecdote") {
    const onPath = (environment["PATH"] ?? "").split(delimiter).includes(dirname(script));
    return onPath ? "anecdote" : quoted(script);
  }
  const near = relative(folder, script);
  return `node ${quoted(near.startsWith(`..${sep}..`) ? script : near)}`;
}

/** Text for people with commands of ours as they are typed here: `anecdote doctor` as `npx anecdote doctor`. */
export function asTyped(text: string): string {
  current ??= typedCommand({
    script: process.argv[1] ?? "",
    folder: process.cwd(),
    environment: process.env,
  });
  return withCommand(text, current);
}
let current: string | undefined;

/** Prose says Anecdote, in capitals; a version or a path is no command. */
export function withCommand(text: string, command: string): string {
  return text.replaceAll(COMMAND, () => command);
}
const COMMAND = /(?<![\w/.\\-])(?<!npx )anecdote(?= (?:[a-z]{2,}\b|--?[a-z]))/g;

/** The folder of the package.json that holds for a folder, as npm looks for it. */
function packageRootOf(folder: string): string | undefined {
  for (let at = realOf(folder); ; at = dirname(at)) {
    if (existsSync(join(at, "package.json"))) return at;
    if (dirname(at) === at) return undefined;
  }
}

function realOf(path: string): string {
  return existsSync(path) ? realpathSync(path) : path;
}

function quoted(path: string): string {
  return /^[\w./:\\@+-]+$/.test(path) ? path : JSON.stringify(path);
}
