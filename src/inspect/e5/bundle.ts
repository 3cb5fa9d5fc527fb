import { lstatSync, readdirSync } from "node:fs";
import { basename, dirname, extname, join, relative } from "node:path";
import { readSmallFile, withFileSource } from "../../util/byte-source.ts";
import { AnecdoteError, messageOf } from "../../util/errors.ts";
import { InspectError } from "../inspect-error.ts";
import { decodeHwx } from "../hwx/decode.ts";
import type { HwxFile } from "../hwx/model.ts";
import { decodeE5Analytics, type E5Analytics } from "./analytics.ts";
import { decodeE5Manifest, type E5Manifest } from "./manifest.ts";

/** Hashes of what was compiled, in hexadecimal. */
export interface E5Hashes {
  readonly program: string;
  readonly weights: string;
}

/** What a file of a bundle is, by its name. */
export type E5FileKind =
  | "manifest"
  | "anehash"
  | "program"
  | "milhash"
  | "weights"
  | "analytics"
  | "bnns"
  | "mps-graph"
  | "other";

/** A file of a bundle. */
export interface E5File {
  readonly path: string;
  readonly kind: E5FileKind;
  readonly byteLength: number;
}

/** A folder that Apple's compiler left behind, read. */
export interface E5Bundle {
  readonly format: "e5-bundle";
  readonly name: string;
  /** Target names such as `H13G`, from the names of folders and manifests. */
  readonly targets: readonly string[];
  readonly files: readonly E5File[];
  readonly manifests: readonly { readonly path: string; readonly manifest: E5Manifest }[];
  readonly hashes: readonly ({ readonly path: string } & E5Hashes)[];
  readonly programs: readonly { readonly path: string; readonly program: HwxFile }[];
  readonly analytics: readonly { readonly path: string; readonly analytics: E5Analytics }[];
  /** Files that were not readable, each with its reason; the others are still shown. */
  readonly problems: readonly { readonly path: string; readonly problem: string }[];
}

const ENTRY_LIMIT = 20_000;
const DEPTH_LIMIT = 12;
const HASH_LIMIT = 4096;

/** Reads `<64 hex>_<64 hex>`: program hash, weights hash. Throws `InspectError`. */
export function decodeAneHash(bytes: Uint8Array, name: string): E5Hashes {
  const text = new TextDecoder().decode(bytes).trimEnd();
  const match = /^([0-9a-f]{64})_([0-9a-f]{64})$/i.exec(text);
  if (match === null) {
    throw new InspectError(
      "inspect.value",
      { file: name, offset: 0, field: "anehash" },
      `${bytes.byteLength} bytes; 129 are expected: two hexadecimal hashes of 64 digits joined by "_"`,
    );
  }
  return { program: match[1] ?? "", weights: match[2] ?? "" };
}

/**
 * Reads a bundle folder of the E5 runtime: every manifest, hash, engine program and analytics text in it. A broken
 * file is listed under `problems` and does not hide the rest. Throws `InspectError` when the folder has no manifest.
 */
export function decodeE5Bundle(folder: string): E5Bundle {
  const files = filesUnder(folder);
  const problems: { path: string; problem: string }[] = [];
  const read = <Content>(kind: E5FileKind, decode: (path: string) => Content) =>
    files
      .filter((file) => file.kind === kind)
      .flatMap(({ path }) => {
        try {
          return [{ path, ...decode(join(folder, path)) }];
        } catch (error) {
          if (!(error instanceof AnecdoteError)) throw error;
          problems.push({ path, problem: messageOf(error) });
          return [];
        }
      });
  const manifests = read("manifest", (path) => ({
    manifest: withFileSource(path, decodeE5Manifest),
  }));
  if (!files.some((file) => file.kind === "manifest")) {
    throw new InspectError(
      "inspect.value",
      { file: folder, offset: 0, field: "bundle folder" },
      `no .e5 manifest among ${files.length} files`,
      { remedy: "An E5 bundle is a folder like <hash>.bundle/H16G.bundle with H16G.e5 in it." },
    );
  }
  return {
    format: "e5-bundle",
    name: folder,
    targets: targetsOf(folder, files),
    files,
    manifests,
    hashes: read("anehash", (path) => decodeAneHash(readSmallFile(path, HASH_LIMIT), path)),
    programs: read("program", (path) => ({ program: withFileSource(path, decodeHwx) })),
    analytics: read("analytics", (path) => ({
      analytics: withFileSource(path, decodeE5Analytics),
    })),
    problems,
  };
}

/** Regular files under a folder; links are not followed, so that no bundle leads out of itself. */
function filesUnder(folder: string): E5File[] {
  const found: E5File[] = [];
  let entries = 0;
  const visit = (path: string, depth: number): void => {
    for (const entry of readdirSync(path, { withFileTypes: true })) {
      if (++entries > ENTRY_LIMIT || depth > DEPTH_LIMIT) {
        throw new InspectError(
          "inspect.limit",
          { file: folder, offset: 0, field: "bundle folder" },
          `more than ${ENTRY_LIMIT} entries or ${DEPTH_LIMIT} levels`,
        );
      }
      const full = join(path, entry.name);
      if (entry.isDirectory()) visit(full, depth + 1);
      else if (entry.isFile()) {
        const inside = relative(folder, full);
        found.push({ path: inside, kind: kindOf(inside), byteLength: lstatSync(full).size });
      }
    }
  };
  visit(folder, 0);
  return found.sort((a, b) => (a.path < b.path ? -1 : 1));
}

function kindOf(path: string): E5FileKind {
  const name = basename(path);
  if (path.split(/[\\/]/).some((part) => part.endsWith(".mpsgraphpackage"))) return "mps-graph";
  if (name === "analytics.mil") return "analytics";
  if (basename(dirname(path)) === "weights" || name === "weights.bin") return "weights";
  switch (extname(name)) {
    case ".e5":
      return "manifest";
    case ".anehash":
      return "anehash";
    case ".hwx":
      return "program";
    case ".milhash":
      return "milhash";
    case ".bnnsir":
      return "bnns";
    default:
      return "other";
  }
}

function targetsOf(folder: string, files: readonly E5File[]): string[] {
  const names = [
    ...files.filter((file) => file.kind === "manifest").map((file) => basename(file.path, ".e5")),
    ...[folder, ...files.map((file) => dirname(file.path))]
      .flatMap((path) => path.split(/[\\/]/))
      .filter((part) => part.endsWith(".bundle"))
      .map((part) => basename(part, ".bundle")),
  ];
  return [...new Set(names.filter((name) => /^[HMT]\d+[A-Za-z]*$/.test(name)))];
}
