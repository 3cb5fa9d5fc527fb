import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { basename, dirname, isAbsolute, join, normalize, resolve } from "node:path";
import * as z from "zod";
import { syncFolder, writeWholeFile } from "../util/atomic-file.ts";
import { readSmallFile } from "../util/byte-source.ts";
import { FileError, messageOf } from "../util/errors.ts";
import type { BlobBuilder } from "./blob-builder.ts";
import { CoreMlError } from "./errors.ts";

const MANIFEST = "Manifest.json";
const MANIFEST_BYTE_LIMIT = 1 << 20;
const FORMAT_VERSION = "1.0.0";
/** The folder and author that exporters write. */
const AUTHOR = "com.apple.CoreML";

const manifestSchema = z.object({
  fileFormatVersion: z.string(),
  itemInfoEntries: z.record(
    z.string(),
    z.object({
      path: z.string(),
      author: z.string().optional(),
      description: z.string().optional(),
      name: z.string().optional(),
    }),
  ),
  rootModelIdentifier: z.string(),
});

/**
 * The path of a package's model, found through the manifest's root identifier as Apple's library finds it.
 * Throws `CoreMlError` for a manifest that is missing, malformed, or points outside the package.
 */
export function findPackageModel(packagePath: string): string {
  const manifestPath = join(packagePath, MANIFEST);
  if (!existsSync(manifestPath)) {
    throw new CoreMlError(
      "coreml.package.manifest",
      `${packagePath} is not a Core ML package: it has no ${MANIFEST}`,
    );
  }
  const manifest = parseManifest(readSmallFile(manifestPath, MANIFEST_BYTE_LIMIT), manifestPath);
  const { rootModelIdentifier, itemInfoEntries } = manifest;
  const item = Object.hasOwn(itemInfoEntries, rootModelIdentifier)
    ? itemInfoEntries[rootModelIdentifier]
    : undefined;
  if (item === undefined) {
    throw new CoreMlError(
      "coreml.package.root",
      `${manifestPath}: the root model ${rootModelIdentifier} is not among the items`,
    );
  }
  const relative = normalize(item.path);
  if (isAbsolute(relative) || relative.split(/[/\\]/).includes("..") || relative.includes("\0")) {
    throw new CoreMlError(
      "coreml.package.path",
      `${manifestPath}: the model "${item.path}" is outside the package`,
    );
  }
  const path = join(packagePath, "Data", relative);
  if (!existsSync(path) || !statSync(path).isFile()) {
    throw new CoreMlError("coreml.package.model", `${packagePath} has no file Data/${relative}`);
  }
  return path;
}

type Manifest = z.infer<typeof manifestSchema>;

/** Reads a manifest. Throws `CoreMlError` naming the first thing that is wrong. */
export function parseManifest(bytes: Uint8Array, name = MANIFEST): Manifest {
  let parsed: unknown;
  try {
    parsed = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw new CoreMlError("coreml.package.manifest", `${name} is not JSON: ${messageOf(error)}`, {
      cause: error,
    });
  }
  const manifest = manifestSchema.safeParse(parsed);
  if (manifest.success) {
    if (manifest.data.fileFormatVersion.startsWith("1.")) return manifest.data;
    throw new CoreMlError(
      "coreml.package.version",
      `${name}: packages of format ${FORMAT_VERSION} are read, this one is of ${manifest.data.fileFormatVersion.slice(0, 40)}`,
    );
  }
  const [issue] = manifest.error.issues;
  throw new CoreMlError(
    "coreml.package.manifest",
    `${name}: ${issue?.path.join(".") ?? ""}: ${issue?.message ?? "not a manifest"}`,
  );
}

/**
 * Writes a package beside its place and moves it there: readers see the old package or the whole new one. The
 * identifiers in the manifest follow from the contents, so that equal models give equal bytes.
 * Returns the paths of its files. Throws `CoreMlError` when something other than a package is in the way, `FileError` when the disk refuses.
 */
export function writePackageFiles(
  path: string,
  model: Uint8Array,
  blobs: BlobBuilder,
): readonly string[] {
  const target = resolve(path);
  if (existsSync(target) && !isReplaceable(target)) {
    throw new CoreMlError(
      "coreml.package.exists",
      `${path} exists and is not a Core ML package; it is left as it is`,
      { remedy: "Choose another name, or remove it first." },
    );
  }
  const aside = join(dirname(target), `.${basename(target)}.${process.pid}.tmp`);
  const former = join(dirname(target), `.${basename(target)}.${process.pid}.old`);
  try {
    rmSync(aside, { recursive: true, force: true });
    const folder = join(aside, "Data", AUTHOR);
    mkdirSync(folder, { recursive: true });
    writeWholeFile(join(folder, "model.mlmodel"), model);
    const weightHash =
      blobs.blobCount === 0 ? undefined : blobs.write(join(folder, "weights", "weight.bin"));
    writeWholeFile(join(aside, MANIFEST), manifestText(model, weightHash));
    rmSync(former, { recursive: true, force: true });
    if (existsSync(target)) renameSync(target, former);
    renameSync(aside, target);
    syncFolder(dirname(target));
    rmSync(former, { recursive: true, force: true });
    const data = join(path, "Data", AUTHOR);
    return [
      join(path, MANIFEST),
      join(data, "model.mlmodel"),
      ...(weightHash === undefined ? [] : [join(data, "weights", "weight.bin")]),
    ];
  } catch (error) {
    if (!existsSync(target) && existsSync(former)) renameSync(former, target);
    rmSync(aside, { recursive: true, force: true });
    if (error instanceof Error && "syscall" in error) {
      throw new FileError("file.write", `cannot write ${path}: ${error.message}`, { cause: error });
    }
    throw error;
  }
}

/** A package, or an empty folder. */
function isReplaceable(target: string): boolean {
  if (!statSync(target).isDirectory()) return false;
  return existsSync(join(target, MANIFEST)) || readdirSync(target).length === 0;
}

function manifestText(model: Uint8Array, weightHash: string | undefined): string {
  const modelHash = createHash("sha256").update(model).digest("hex");
  const modelIdentifier = identifier("model", modelHash);
  const items: Record<string, unknown> = {
    [modelIdentifier]: {
      author: AUTHOR,
      description: "CoreML Model Specification",
      name: "model.mlmodel",
      path: `${AUTHOR}/model.mlmodel`,
    },
  };
  if (weightHash !== undefined) {
    items[identifier("weights", modelHash + weightHash)] = {
      author: AUTHOR,
      description: "CoreML Model Weights",
      name: "weights",
      path: `${AUTHOR}/weights`,
    };
  }
  const sorted = Object.fromEntries(Object.entries(items).sort(([a], [b]) => (a < b ? -1 : 1)));
  const manifest = {
    fileFormatVersion: FORMAT_VERSION,
    itemInfoEntries: sorted,
    rootModelIdentifier: modelIdentifier,
  };
  return `${JSON.stringify(manifest, undefined, 4)}\n`;
}

/** A UUID of version 8 (RFC 9562: free use) from a hash. */
function identifier(kind: string, contents: string): string {
  const bytes = createHash("sha256")
    .update(`anecdote ${kind} ${contents}`)
    .digest()
    .subarray(0, 16);
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x80;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  return bytes
    .toString("hex")
    .toUpperCase()
    .replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
