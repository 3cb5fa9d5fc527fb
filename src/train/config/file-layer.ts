import { parse as parseYaml } from "yaml";
import { readSmallFile } from "../../util/byte-source.ts";
import { messageOf } from "../../util/errors.ts";
import { OptionError } from "../../util/option-error.ts";
import type { OptionLayer } from "../../util/options.ts";
import { withoutConfigVersion } from "../../runs/config-file.ts";

const BYTE_LIMIT = 1 << 20;

/**
 * A YAML or JSON configuration file as a layer. Throws `OptionError` where it is no mapping, `RunError` for a run's file
 * of a later version, `FileError`.
 */
export function fileLayer(path: string): OptionLayer {
  const text = Buffer.from(readSmallFile(path, BYTE_LIMIT)).toString("utf8");
  let content: unknown;
  try {
    content = parseYaml(text, { maxAliasCount: 100 });
  } catch (error) {
    throw new OptionError("cli.config.syntax", `${path}: ${messageOf(error)}`, { cause: error });
  }
  if (content === null || content === undefined) return { origin: path, values: {} };
  if (typeof content !== "object" || Array.isArray(content)) {
    throw new OptionError(
      "cli.config.kind",
      `${path}: a configuration is a mapping of options to values`,
    );
  }
  return { origin: path, values: withoutConfigVersion(path, content) };
}
