import { RunError } from "./errors.ts";
import { refuseLater } from "../util/format-version.ts";

/** What a run's folder keeps of its settings. */
export const CONFIG_FILE = "config.yaml";
/** Changes with the meaning of a setting; a file without it is of the first version. */
const CONFIG_VERSION = 1;
/** No option has this name: it says what the others mean. */
const VERSION_KEY = "format_version";

/** Settings as a run's folder keeps them. */
export function withConfigVersion(
  settings: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> {
  return { [VERSION_KEY]: CONFIG_VERSION, ...settings };
}

/** The settings of such a file, or of one that a user wrote. Throws `RunError` `run.config.version` for a later one. */
export function withoutConfigVersion(
  path: string,
  content: object,
): Readonly<Record<string, unknown>> {
  const format = { known: CONFIG_VERSION, what: path, field: VERSION_KEY };
  refuseLater(content, format, RunError, "run.config.version");
  const { [VERSION_KEY]: _version, ...settings } = content as Record<string, unknown>;
  return settings;
}
