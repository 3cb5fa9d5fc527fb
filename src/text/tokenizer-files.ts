import { existsSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { writeWholeFile } from "../util/atomic-file.ts";
import { readSmallFile } from "../util/byte-source.ts";
import { TextError } from "./errors.ts";
import { describe } from "./simple-tokenizers.ts";
import type { DescribedTokenizer } from "./simple-tokenizers.ts";
import { checkTokenizerJson, parseJsonObject } from "./tokenizer-json.ts";
import type { TokenizerConfigJson } from "./tokenizer-json.ts";

/** The largest in use (256,000 tokens with merges) take some 35 MB. */
const BYTE_LIMIT = 256 * 2 ** 20;

function readText(path: string): string {
  const bytes = readSmallFile(path, BYTE_LIMIT);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    throw new TextError("text.tokenizer.json", `${path} is not UTF-8 text`, { cause: error });
  }
}

/**
 * Loads `tokenizer.json`, and `tokenizer_config.json` where it stands beside it, from a folder or by the file's path.
 * Throws `TextError` `text.tokenizer.*` saying what in the file is wrong.
 */
export function loadTokenizer(path: string): DescribedTokenizer {
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
  return describe(json, config, file);
}

/** Writes `tokenizer.json` and `tokenizer_config.json` into a model folder, each aside and then renamed. */
export function saveTokenizer(
  folder: string,
  described: Pick<DescribedTokenizer, "json" | "config">,
): void {
  writeWholeFile(
    join(folder, "tokenizer.json"),
    `${JSON.stringify(described.json, undefined, 1)}\n`,
  );
  writeWholeFile(
    join(folder, "tokenizer_config.json"),
    `${JSON.stringify(described.config, undefined, 2)}\n`,
  );
}
