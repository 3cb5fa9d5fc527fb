import { createHash } from "node:crypto";
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Facts } from "../../cluster/index.ts";
import { VERSION } from "../../util/version.ts";
import type { TrainConfig } from "../config/config.ts";
import { CONFIG_FILE } from "../../runs/config-file.ts";
import { withFileSource } from "../../util/byte-source.ts";

/** Settings in which the processes of a run may differ: rank 0's folder, and what fits each machine. */
const OWN_SETTINGS: ReadonlySet<string> = new Set(["output_dir", "threads", "blas", "ane_driver"]);
/** Bytes at both ends of a file by which it is known, beside its size. */
const SAMPLE_BYTES = 1 << 20;

/**
 * What all processes of a run must have in common. A process that lacks the data, the model or the run to resume takes
 * them from rank 0: what it does not have is not compared.
 */
export function groupFacts(config: TrainConfig): Facts {
  const lacksRun = config.resume && !existsSync(join(config.output_dir, CONFIG_FILE));
  const settings = Object.fromEntries(
    Object.entries(config).filter(([key]) => !OWN_SETTINGS.has(key)),
  );
  const data = typeof config.data === "string" ? [config.data] : config.data;
  return {
    version: VERSION,
    ...(!lacksRun && settings),
    "contents of --data": data.map(fingerprint).join(" ") || null,
    "contents of --model": config.model === undefined ? null : fingerprint(config.model) || null,
    "contents of --model-config":
      config.model_config === undefined ? null : fingerprint(config.model_config) || null,
  };
}

/** Tells files of other contents apart; empty for what is no file or folder here. */
function fingerprint(path: string): string {
  if (!existsSync(path)) return "";
  const stats = statSync(path);
  if (stats.isDirectory()) {
    return readdirSync(path)
      .sort()
      .filter((name) => statSync(join(path, name)).isFile())
      .map((name) => `${name}:${fingerprint(join(path, name))}`)
      .join(" ");
  }
  if (!stats.isFile()) return "";
  return withFileSource(path, (source) => {
    const hash = createHash("sha256");
    const length = Math.min(SAMPLE_BYTES, stats.size);
    for (const position of [0, stats.size - length]) {
      const bytes = new Uint8Array(length);
      source.readInto(position, bytes);
      hash.update(bytes);
    }
    return `${stats.size} bytes ${hash.digest("hex").slice(0, 16)}`;
  });
}
