import { existsSync } from "node:fs";
import { extname } from "node:path";
import { readSmallFile, openedFile } from "../util/byte-source.ts";
import type { ByteSource } from "../util/byte-source.ts";
import { TextError } from "./errors.ts";
import { parseJsonObject } from "./tokenizer-json.ts";
import { checkTokenRange, scanTokens } from "./token-view.ts";
import type { TokenView } from "./token-view.ts";

/** Bytes of one token id in a file. */
export type TokenWidth = 2 | 4;

/** What a file of token ids must hold. */
export interface OpenTokenFileOptions {
  /** Ids must be below it; also decides the width where nothing else does. */
  readonly vocabularySize: number;
  readonly width?: TokenWidth;
}

/** A file of token ids, little-endian, read by position. Close it when done. */
export interface TokenFile extends TokenView {
  readonly width: TokenWidth;
  /** Closes the file. */
  close(): void;
}

/** Files up to this size are checked whole when they are opened; of larger ones every id is checked when it is read. */
const CHECKED_WHOLE_BYTES = 256 * 2 ** 20;

/** llm.c begins its files with 256 words: magic, version, token count. */
const LLMC_HEADER_BYTES = 1024;
const LLMC_KINDS: ReadonlyMap<number, { readonly version: number; readonly width: TokenWidth }> =
  new Map([
    [20240520, { version: 1, width: 2 }],
    [20240801, { version: 7, width: 4 }],
  ]);

export function narrowestWidth(vocabularySize: number): TokenWidth {
  return vocabularySize <= 65_536 ? 2 : 4;
}

function llmcHeader(
  source: ByteSource,
): { readonly width: TokenWidth; readonly tokenCount: number } | undefined {
  if (source.byteLength < LLMC_HEADER_BYTES) return undefined;
  const words = new DataView(source.read(0, 12).buffer);
  const kind = LLMC_KINDS.get(words.getUint32(0, true));
  const tokenCount = words.getUint32(8, true);
  if (kind === undefined || words.getUint32(4, true) !== kind.version) return undefined;
  if (LLMC_HEADER_BYTES + tokenCount * kind.width !== source.byteLength) return undefined;
  return { width: kind.width, tokenCount };
}

/** Width named by a sidecar `<file>.json` ({"width": 2} or {"dtype": "uint16"}) or by the file's extension. */
function promisedWidth(path: string): TokenWidth | undefined {
  const extension = extname(path).toLowerCase();
  if (extension === ".u16" || extension === ".uint16") return 2;
  if (extension === ".u32" || extension === ".uint32") return 4;
  const sidecar = `${path}.json`;
  if (!existsSync(sidecar)) return undefined;
  const fields = parseJsonObject(Buffer.from(readSmallFile(sidecar, 1 << 20)).toString(), sidecar);
  const named = fields["width"] ?? fields["dtype"];
  if (named === 2 || named === "uint16") return 2;
  if (named === 4 || named === "uint32") return 4;
  throw new TextError(
    "text.tokens.width",
    `${sidecar}: expected "width": 2 or 4, or "dtype": "uint16" or "uint32"`,
  );
}

function checkWidth(file: TokenFile, source: ByteSource): void {
  if (file.width !== 2) return;
  // Ids of 4 bytes read as 2 show a zero in every second place.
  const words = new Uint16Array(
    source.read(source.byteLength - file.tokenCount * 2, Math.min(file.tokenCount, 4096) * 2)
      .buffer,
  );
  const isZeroAt = (parity: number): boolean =>
    words.every((word, index) => index % 2 !== parity || word === 0);
  if (words.length >= 16 && isZeroAt(1) && !isZeroAt(0)) {
    throw new TextError(
      "text.tokens.width",
      `${file.name}: every second id is 0, so the ids have 4 bytes, not 2`,
      {
        remedy: `Set the token width to 4, or write {"width": 4} into ${file.name}.json.`,
      },
    );
  }
}

/**
 * Opens a file of token ids, as nanoGPT and llm.c write them. The width comes from the option, llm.c's header, the
 * sidecar `<file>.json`, or the vocabulary (2 bytes up to 65,536 tokens), in this order.
 * Throws `TextError` `text.empty`, `text.tokens.size`, `text.tokens.width` or `text.id`.
 */
export function openTokenFile(path: string, options: OpenTokenFileOptions): TokenFile {
  return openedFile(path, (source) => {
    const file = describeFile(source, path, options);
    checkWidth(file, source);
    if (source.byteLength <= CHECKED_WHOLE_BYTES) for (const block of scanTokens(file)) void block;
    return file;
  });
}

function describeFile(source: ByteSource, path: string, options: OpenTokenFileOptions): TokenFile {
  if (source.byteLength === 0) throw new TextError("text.empty", `${path} is empty`);
  const header = options.width === undefined ? llmcHeader(source) : undefined;
  const start = header === undefined ? 0 : LLMC_HEADER_BYTES;
  const width =
    options.width ?? header?.width ?? promisedWidth(path) ?? narrowestWidth(options.vocabularySize);
  const byteLength = source.byteLength - start;
  if (byteLength % width !== 0) {
    throw new TextError(
      "text.tokens.size",
      `${path} has ${byteLength} bytes, which is no multiple of ${width}, the bytes of one id`,
      {
        remedy:
          byteLength % 2 === 0
            ? "If its ids have 2 bytes, set the token width to 2."
            : "The file is cut off or does not hold token ids.",
      },
    );
  }
  const { vocabularySize } = options;
  let scratch = new Uint8Array(0);
  const file: TokenFile = {
    name: path,
    width,
    tokenCount: byteLength / width,
    read(position, target) {
      checkTokenRange(file, position, target.length);
      if (scratch.byteLength < target.length * width)
        scratch = new Uint8Array(target.length * width);
      source.readInto(start + position * width, scratch.subarray(0, target.length * width));
      const ids =
        width === 2
          ? new Uint16Array(scratch.buffer, 0, target.length)
          : new Uint32Array(scratch.buffer, 0, target.length);
      for (let index = 0; index < target.length; index++) {
        const id = ids[index] ?? 0;
        if (id >= vocabularySize) failOnId(path, position + index, id, vocabularySize);
        target[index] = id;
      }
    },
    close: () => source.close(),
  };
  return file;
}

function failOnId(path: string, position: number, id: number, vocabularySize: number): never {
  throw new TextError(
    "text.id",
    `${path}: token ${position} has id ${id}, the vocabulary has ${vocabularySize} tokens`,
    {
      remedy: "The file was made with another tokenizer, or its ids have another width.",
    },
  );
}
