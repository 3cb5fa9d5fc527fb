import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { BLOB_SENTINEL, BLOB_VERSION } from "../coreml/blob-file.ts";
import { programKind } from "../inspect/program-kind.ts";
import { isModelFile } from "../model/index.ts";
import type { ByteSource } from "../util/byte-source.ts";
import { FileError } from "../util/errors.ts";
import { looksLikeNpy } from "./npy.ts";
import { withFileSource } from "../util/byte-source.ts";

/** Formats that the commands open, told apart by what is in a file. */
export type FileKind =
  | "mil"
  | "mlpackage"
  | "mlmodelc"
  | "mlmodel"
  | "onnx"
  | "hwx"
  | "ane"
  | "e5"
  | "e5-bundle"
  | "weights"
  | "safetensors"
  | "npy"
  | "model";

/**
 * What a file or folder is. Bytes decide; the name does only for E5 manifests and for files that begin as nothing
 * known does. Throws `FileError` where there is nothing, or nothing that is read.
 */
export function fileKindOf(path: string): FileKind {
  if (!existsSync(path)) throw new FileError("file.missing", `${path} does not exist`);
  if (statSync(path).isDirectory()) return folderKind(path);
  return withFileSource(path, kindOfBytes);
}

function folderKind(path: string): FileKind {
  if (existsSync(join(path, "Manifest.json"))) return "mlpackage";
  if (existsSync(join(path, "model.mil"))) return "mlmodelc";
  if (isModelFolder(path)) return "model";
  if (holdsE5(path)) return "e5-bundle";
  throw new FileError(
    "file.kind",
    `${path} is a folder, but no .mlpackage, .mlmodelc, E5 bundle, model or run: it has no Manifest.json, model.mil, .e5 file, config.json or checkpoint`,
    { remedy: "Name a file inside it." },
  );
}

/** Whether a folder is a model in Hugging Face's layout, or a training run. */
function isModelFolder(path: string): boolean {
  return readdirSync(path).some((name) =>
    /^(?:config\.json|events\.ndjson|checkpoint-\d+)$/.test(name),
  );
}

const FOLDER_DEPTH = 4;
/** Entries looked at before a folder counts as something else. */
const ENTRY_LIMIT = 2000;

/** Whether a folder holds a manifest or hash of the runtime, some levels down. */
function holdsE5(root: string): boolean {
  const open: { readonly path: string; readonly depth: number }[] = [{ path: root, depth: 0 }];
  let seen = 0;
  for (const { path, depth } of open) {
    for (const entry of readdirSync(path, { withFileTypes: true })) {
      if (/\.(?:e5|anehash)$/.test(entry.name)) return true;
      if (++seen > ENTRY_LIMIT) return false;
      if (entry.isDirectory() && depth < FOLDER_DEPTH) {
        open.push({ path: join(path, entry.name), depth: depth + 1 });
      }
    }
  }
  return false;
}

function kindOfBytes(source: ByteSource): FileKind {
  if (looksLikeNpy(source)) return "npy";
  if (isModelFile(source)) return "model";
  if (startsAsText(source)) return "mil";
  if (looksLikeSafetensors(source)) return "safetensors";
  if (looksLikeWeights(source)) return "weights";
  const program = programKind(source);
  if (program === "hwx" || program === "ane" || program === "e5") return program;
  const isText = looksLikeText(source);
  const message = isText ? undefined : messageKind(source);
  if (message !== undefined) return message;
  const byName = KIND_OF_NAME.find(([ending]) => source.name.toLowerCase().endsWith(ending));
  if (byName !== undefined) return byName[1];
  const what = isText
    ? 'is text, and not MIL: that begins with "program("'
    : "begins as no format that is read here";
  throw new FileError("file.kind", `${source.name} ${what}`, {
    remedy: `Formats: MIL text, .mlpackage, .mlmodel, .mlmodelc, .onnx, .safetensors, weight files, .hwx, .ane, .e5, .npy, .gguf.`,
  });
}

/** For files too damaged to tell: the reader of the format says what is wrong with it. */
const KIND_OF_NAME: readonly (readonly [string, FileKind])[] = [
  [".mil", "mil"],
  [".mlmodel", "mlmodel"],
  [".onnx", "onnx"],
  [".safetensors", "safetensors"],
  [".bin", "weights"],
  [".npy", "npy"],
];

/** The word that all MIL text begins with, after blanks and comments. */
function startsAsText(source: ByteSource): boolean {
  const start = new TextDecoder().decode(source.read(0, Math.min(source.byteLength, 4096)));
  return /^\uFEFF?(?:\s|\/\/[^\n]*(?:\n|$))*program\s*\(/.test(start);
}

/** UTF-8 without the control characters that the fields of every protocol buffer begin with. */
function looksLikeText(source: ByteSource): boolean {
  if (source.byteLength === 0) return false;
  const start = source.read(0, Math.min(source.byteLength, 4096));
  if (start.some((byte) => byte < 32 && ![9, 10, 12, 13].includes(byte))) return false;
  try {
    // The last character may be cut.
    new TextDecoder("utf-8", { fatal: true }).decode(start, { stream: true });
    return true;
  } catch {
    return false;
  }
}

/** A header length that fits, then the brace of its JSON. */
function looksLikeSafetensors(source: ByteSource): boolean {
  if (source.byteLength < 10) return false;
  const start = Buffer.from(source.read(0, 9));
  return start.readBigUInt64LE() < 2n ** 40n && start[8] === 0x7b;
}

function looksLikeWeights(source: ByteSource): boolean {
  if (source.byteLength < 64) return false;
  const start = Buffer.from(source.read(0, Math.min(source.byteLength, 68)));
  const count = start.readUInt32LE(0);
  if (start.readUInt32LE(4) !== BLOB_VERSION) return false;
  return count === 0 || (start.length >= 68 && start.readUInt32LE(64) === BLOB_SENTINEL);
}

const FIELD_LIMIT = 64;

/**
 * Whether a protocol buffer is an ONNX model or a Core ML one, by the numbers of its outermost fields: both begin
 * with a version, and only ONNX has fields 7 (graph) and 8 (operator sets), only Core ML has 200 and above.
 */
function messageKind(source: ByteSource): "onnx" | "mlmodel" | undefined {
  let offset = 0;
  for (let fields = 0; fields < FIELD_LIMIT && offset < source.byteLength; fields++) {
    const head = source.read(offset, Math.min(20, source.byteLength - offset));
    const tag = varint(head, 0);
    if (tag === undefined) return undefined;
    const number = Math.floor(tag.value / 8);
    const value = varint(head, tag.length);
    if (number === 0 || value === undefined) return undefined;
    if (number === 7 || number === 8) return "onnx";
    if (number >= 200) return "mlmodel";
    switch (tag.value % 8) {
      case 0:
        offset += tag.length + value.length;
        break;
      case 1:
        offset += tag.length + 8;
        break;
      case 2:
        offset += tag.length + value.length + value.value;
        break;
      case 5:
        offset += tag.length + 4;
        break;
      default:
        return undefined;
    }
  }
  return undefined;
}

function varint(bytes: Uint8Array, start: number): { value: number; length: number } | undefined {
  let value = 0;
  for (let length = 1; length <= 10 && start + length <= bytes.length; length++) {
    const byte = bytes[start + length - 1] ?? 0;
    value += (byte & 127) * 2 ** (7 * (length - 1));
    if (byte < 128) return { value, length };
  }
  return undefined;
}
