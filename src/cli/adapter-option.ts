import { resolve } from "node:path";
import { Option } from "commander";
import { isAdapterFolder, readAdapter } from "../model/index.ts";
import type { AdapterSource } from "../model/index.ts";
import { resolveModelFolder } from "../train/index.ts";
import { append } from "./append.ts";
import { UsageError } from "./errors.ts";
import { printNote } from "./terminal.ts";
import { isSamePath } from "../util/same-path.ts";

/** `--adapter`, which may be given several times. `where`: what adapters stand beside. */
export function adapterOption(where = ""): Option {
  return new Option(
    "--adapter <dir>",
    `adapter folder or finetune run${where}; DIR=0.5 takes half of it (may be given several times)`,
  )
    .argParser(append)
    .default([]);
}

/**
 * Adapters as a command line names them: DIR, or DIR=WEIGHT. A run's folder means its newest checkpoint. One that says it
 * was trained on a model of another name than `model`, a folder or file, is told of: shapes alone do not show it. Throws
 * `UsageError` for a weight that is no number, `RunError` for a folder that is not there, `ModelError` for an adapter
 * that cannot be read.
 */
export function adapterSources(texts: readonly string[], model: string): readonly AdapterSource[] {
  return texts.map((text) => {
    const [, named = text, share] = /^(.+)=([^=/]*)$/.exec(text) ?? [];
    const weight = share === undefined ? 1 : Number(share);
    if (share?.trim() === "" || !Number.isFinite(weight)) {
      throw new UsageError("cli.adapter", `--adapter ${text}: "${share ?? ""}" is no weight`, {
        remedy: "Write --adapter DIR, or --adapter DIR=0.5.",
      });
    }
    const folder = isAdapterFolder(named) ? named : resolveModelFolder(named, printNote);
    tellOtherBase(named, folder, model);
    return { folder, weight };
  });
}

function tellOtherBase(named: string, folder: string, model: string): void {
  if (!isAdapterFolder(folder)) return;
  const { baseName } = readAdapter(folder);
  if (baseName === undefined || nameOf(baseName) === nameOf(resolve(model))) return;
  if (isSamePath(baseName, model)) return;
  printNote(
    `the adapter ${named} says that it was trained on ${baseName}, and stands beside ${model} here: if that is another model, its texts are wrong`,
  );
}

/** A model's name in its path or on the Hub, which is the same where a folder was moved or downloaded. */
function nameOf(path: string): string {
  const parts = path.split(/[/\\]+/).filter((part) => part !== "");
  const cached = parts.findLast((part) => part.startsWith("models--"));
  if (cached !== undefined) return cached.split("--").at(-1) ?? cached;
  const last = parts.at(-1) ?? path;
  return /^checkpoint-\d+$/.test(last) ? (parts.at(-2) ?? last) : last;
}
