import { existsSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { FileError } from "../util/errors.ts";
import { FilesError } from "./errors.ts";

export interface OutputRequest {
  /** All that would be written. */
  readonly paths: readonly string[];
  /** Files and folders that are read meanwhile, or that the outputs come from. */
  readonly inputs: readonly string[];
  readonly overwrite: boolean;
}

/**
 * Throws `FilesError` where an output is a file that is read, `FileError` where one is there already and may not be
 * replaced. Returns the folders that writing will make, the outermost of each path.
 */
export function requireFreeOutputs(request: OutputRequest): readonly string[] {
  const { paths, inputs, overwrite } = request;
  const made = new Set<string>();
  for (const path of paths) {
    const folder = missingFolder(path);
    if (folder !== undefined) made.add(folder);
    if (!existsSync(path)) continue;
    const read = inputs.find((input) => isSameFile(input, path));
    if (read !== undefined) {
      throw new FilesError("cli.output.input", `${path} is read, and would write over itself`, {
        remedy: "Give the output another name.",
      });
    }
    if (!overwrite) {
      throw new FileError("file.exists", `${path} exists already and is left as it is`, {
        remedy: "Replace it with --overwrite, or choose another name.",
      });
    }
  }
  return [...made];
}

/** Whether two names lead to one file, whatever links and letters of either case are on the way. */
function isSameFile(a: string, b: string): boolean {
  if (!existsSync(a) || !existsSync(b)) return false;
  const [first, second] = [statSync(a, { bigint: true }), statSync(b, { bigint: true })];
  return first.dev === second.dev && first.ino === second.ino;
}

/** The outermost folder above a path that does not exist. */
function missingFolder(path: string): string | undefined {
  let missing: string | undefined;
  for (let folder = dirname(path); !existsSync(folder); folder = dirname(folder)) missing = folder;
  return missing;
}
