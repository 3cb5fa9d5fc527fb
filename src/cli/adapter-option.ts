import { Option } from "commander";
import { isAdapterFolder } from "../model/index.ts";
import type { AdapterSource } from "../model/index.ts";
import { resolveModelFolder } from "../train/index.ts";
import { append } from "./append.ts";
import { UsageError } from "./errors.ts";
import { printNote } from "./terminal.ts";

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
 * Adapters as a command line names them: DIR, or DIR=WEIGHT. A run's folder means its newest checkpoint. Throws
 * `UsageError` for a weight that is no number, `RunError` for a folder that is not there.
 */
export function adapterSources(texts: readonly string[]): readonly AdapterSource[] {
  return texts.map((text) => {
    const [, folder = text, share] = /^(.+)=([^=/]*)$/.exec(text) ?? [];
    const weight = share === undefined ? 1 : Number(share);
    if (share?.trim() === "" || !Number.isFinite(weight)) {
      throw new UsageError("cli.adapter", `--adapter ${text}: "${share ?? ""}" is no weight`, {
        remedy: "Write --adapter DIR, or --adapter DIR=0.5.",
      });
    }
    return {
      folder: isAdapterFolder(folder) ? folder : resolveModelFolder(folder, printNote),
      weight,
    };
  });
}
