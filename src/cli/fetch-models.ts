import { existsSync } from "node:fs";
import type { Command } from "commander";
import { parse } from "yaml";
import { hubModelNamed } from "../hub/hub-model.ts";
import { fetchNamedModel } from "../runs/model-path.ts";
import { readSmallFile } from "../util/byte-source.ts";
import { printNote } from "./terminal.ts";

/** Options that name a model, an adapter or a tokenizer, under all their spellings. */
const NAMING = ["model", "modelNameOrPath", "adapter", "tokenizer"];
/** Commands whose first argument may be a model. */
const NAMED_FIRST = new Set(["convert", "inspect"]);
const CONFIG_BYTE_LIMIT = 1 << 20;

/** Fetches the models that a command names as on the Hub, before it starts. Throws `HubError`. */
export async function fetchNamedModels(command: Command): Promise<void> {
  const given: Readonly<Record<string, unknown>> = command.opts();
  const names = NAMING.flatMap((option) => textsOf(given[option]));
  if (NAMED_FIRST.has(command.name())) names.push(...textsOf(command.args[0]));
  for (const file of textsOf(given["config"])) names.push(...namesIn(file));
  for (const text of new Set(names)) {
    // An adapter may carry its share: owner/name=0.5.
    const name = text.replace(/=[^=/]*$/, "");
    if (hubModelNamed(name) !== undefined) await fetchNamedModel(name, printNote);
  }
}

function textsOf(value: unknown): string[] {
  const values: readonly unknown[] = Array.isArray(value) ? value : [value];
  return values.filter((item): item is string => typeof item === "string");
}

/** Models that a file of settings names. What is wrong with the file is told by who reads it in earnest. */
function namesIn(file: string): readonly string[] {
  if (!existsSync(file)) return [];
  try {
    const text = Buffer.from(readSmallFile(file, CONFIG_BYTE_LIMIT)).toString("utf8");
    const settings: unknown = parse(text);
    if (typeof settings !== "object" || settings === null) return [];
    const keys = ["model", "model_name_or_path", "tokenizer"];
    return Object.entries(settings).flatMap(([key, value]) =>
      keys.includes(key) ? textsOf(value) : [],
    );
  } catch {
    return [];
  }
}
