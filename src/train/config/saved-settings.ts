import { existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { CHAT_TEMPLATES } from "../../text/index.ts";
import { TOKENIZER_KINDS } from "../../runs/model-path.ts";

/** Data that stand in no file. */
const MADE_DATA: readonly string[] = ["stories", "random"];

const DATA_KEYS: ReadonlySet<string> = new Set(["data", "eval_data"]);
const PATH_KEYS: ReadonlySet<string> = new Set([
  "output_dir",
  "model",
  "model_config",
  "tokenizer",
  "chat_template",
]);
/** How long a run is stands in max_steps by the time it is kept. */
const NOT_KEPT: ReadonlySet<string> = new Set(["epochs", "resume"]);

/** Settings as a run keeps them: paths are absolute, so that it can be gone on with from any folder. */
export function savedSettings(settings: object): Readonly<Record<string, unknown>> {
  return Object.fromEntries(
    Object.entries(settings)
      .filter(([key]) => !NOT_KEPT.has(key))
      .map(([key, value]: [string, unknown]) => [key, absolute(key, value)]),
  );
}

function absolute(key: string, value: unknown): unknown {
  if (Array.isArray(value)) return value.map((one: unknown) => absolute(key, one));
  if (typeof value !== "string") return value;
  if (DATA_KEYS.has(key)) return MADE_DATA.includes(value) ? value : resolve(value);
  if (!PATH_KEYS.has(key)) return value;
  const isKind =
    (key === "tokenizer" && TOKENIZER_KINDS.some((kind) => kind === value)) ||
    (key === "chat_template" && Object.hasOwn(CHAT_TEMPLATES, value));
  return isKind ? value : resolve(value);
}

/**
 * A path of a run's settings: as it stands, or where the run's folder is now. Runs of version 0.1 kept paths as they
 * were typed.
 */
export function locatedPath(path: string, runFolder: string): string {
  if (existsSync(path) || MADE_DATA.includes(path)) return path;
  const run = resolve(runFolder);
  const places = [run, dirname(run), dirname(dirname(run))].map((folder) => join(folder, path));
  return places.find((place) => existsSync(place)) ?? path;
}
