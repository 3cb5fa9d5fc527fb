import { existsSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { writeWholeFile } from "../util/atomic-file.ts";
import { readSmallFile } from "../util/byte-source.ts";
import { modelLayout } from "../model/index.ts";
import { TextError } from "./errors.ts";
import { ggufTokenizer } from "./gguf-tokenizer.ts";
import { llama2cTokenizer } from "./llama2c-tokenizer.ts";
import { describe } from "./simple-tokenizers.ts";
import type { DescribedTokenizer } from "./simple-tokenizers.ts";
import { checkTokenizerJson, parseJsonObject } from "./tokenizer-json.ts";
import type { TokenizerConfigJson } from "./tokenizer-json.ts";

/** The largest in use (256,000 tokens with merges) take some 35 MB. */
const BYTE_LIMIT = 256 * 2 ** 20;

const SPECIAL_TOKENS_MAP = "special_tokens_map.json";
/** Files that belong to a tokenizer and are kept with it as they are. */
const COMPANIONS = [SPECIAL_TOKENS_MAP, "chat_template.jinja"];

function readText(path: string): string {
  const bytes = readSmallFile(path, BYTE_LIMIT);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    throw new TextError("text.tokenizer.json", `${path} is not UTF-8 text`, { cause: error });
  }
}

/**
 * Loads `tokenizer.json`, and what stands beside it (`tokenizer_config.json` and other files of a tokenizer), from a folder or by the file's path; or
 * the tokenizer that a model of one file carries, or has beside it.
 * Throws `TextError` `text.tokenizer.*` saying what in the file is wrong.
 */
export function loadTokenizer(path: string): DescribedTokenizer {
  const layout = modelLayout(path);
  if (layout === "gguf") return ggufTokenizer(path);
  if (layout === "llama2.c") return llama2cTokenizer(path);
  const file =
    existsSync(path) && statSync(path).isDirectory() ? join(path, "tokenizer.json") : path;
  if (!existsSync(file)) {
    throw new TextError("text.tokenizer.missing", `${file} does not exist`, {
      remedy:
        "Anecdote runs tokenizer.json files; a model with only tokenizer.model must be converted first.",
    });
  }
  const json = checkTokenizerJson(parseJsonObject(readText(file), file), file);
  const configFile = join(dirname(file), "tokenizer_config.json");
  const config: TokenizerConfigJson =
    basename(file) === "tokenizer.json" && existsSync(configFile)
      ? parseJsonObject(readText(configFile), configFile)
      : {};
  const companions: Record<string, string> = {};
  if (basename(file) === "tokenizer.json") {
    for (const name of COMPANIONS) {
      const path = join(dirname(file), name);
      if (existsSync(path)) companions[name] = readText(path);
    }
  }
  const map = companions[SPECIAL_TOKENS_MAP];
  const roles =
    map === undefined ? {} : parseJsonObject(map, join(dirname(file), SPECIAL_TOKENS_MAP));
  // The map is older than the configuration, which wins where it says something, be it "none".
  const { tokenizer } = describe(json, { ...roles, ...config }, file);
  return { tokenizer, json, config, ...(Object.keys(companions).length > 0 && { companions }) };
}

/** Writes a tokenizer's files into a model folder, each aside and then renamed. */
export function saveTokenizer(
  folder: string,
  described: Pick<DescribedTokenizer, "json" | "config" | "companions">,
): void {
  writeWholeFile(
    join(folder, "tokenizer.json"),
    `${JSON.stringify(described.json, undefined, 1)}\n`,
  );
  writeWholeFile(
    join(folder, "tokenizer_config.json"),
    `${JSON.stringify(described.config, undefined, 2)}\n`,
  );
  for (const [name, content] of Object.entries(described.companions ?? {}))
    writeWholeFile(join(folder, name), content);
}
