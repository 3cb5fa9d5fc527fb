import { createHash } from "node:crypto";
import { existsSync, rmSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { writeFileAtomically, writeWholeFile } from "../util/atomic-file.ts";
import { openFileSource, readSmallFile, hashSource, withFileSource } from "../util/byte-source.ts";
import type { ByteSource } from "../util/byte-source.ts";
import type { CorpusFile } from "./corpus-files.ts";
import { LATER_VERSION_REMEDY, laterVersion } from "../util/format-version.ts";
import { openCorpus, readDocuments } from "./corpus-source.ts";
import { TextError } from "./errors.ts";
import { defaultThreads, encodeParts } from "./encoding-threads.ts";
import { trainingFrame } from "./document-frame.ts";
import type { DocumentFrame } from "./document-frame.ts";
import { cutDocuments } from "./piece-encoder.ts";
import { narrowestWidth, openTokenFile } from "./token-file.ts";
import type { TokenFile, TokenWidth } from "./token-file.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** Of the facts beside a file of tokens. */
const CACHE_VERSION = 1;

/** How a text becomes a file of tokens. */
export interface TokenizeOptions {
  readonly tokenizer: Tokenizer;
  /** Tokens around documents; default: the end-of-text token after each one. */
  readonly frame?: DocumentFrame | undefined;
  /** Folder of the token files; made when missing. */
  readonly cacheFolder: string;
  /** Threads that encode a large file. Default: as many as the processor has, 8 at most. */
  readonly threads?: number;
  /** Field of a `.jsonl` row that holds the text. Default "text". */
  readonly textField?: string;
  /** Hears how far a file is encoded, in bytes. */
  readonly onProgress?: (progress: {
    readonly path: string;
    readonly byteCount: number;
    readonly byteTotal: number;
  }) => void;
}

/** Facts about a token file, kept beside it as `<file>.json`. */
export interface TokenFileFacts {
  readonly format: "anecdote tokens";
  readonly version: typeof CACHE_VERSION;
  readonly width: TokenWidth;
  readonly tokenCount: number;
  readonly documentCount: number;
  /** Tokens that stand for text the vocabulary cannot spell. */
  readonly unknownCount: number;
  readonly vocabularySize: number;
  readonly tokenizer: string;
  readonly source: string;
  /** SHA-256 of the token file. */
  readonly sha256: string;
}

/** Tokens of a text that are kept in a file. */
export interface CachedTokens {
  readonly tokens: TokenFile;
  readonly facts: TokenFileFacts;
  /** found: as it was; made: there was none; remade: there was one that did not fit its facts. */
  readonly state: "found" | "made" | "remade";
}

const HASHED_WHOLE_BYTES = 64 * 2 ** 20;
const VERIFIED_BYTES = 256 * 2 ** 20;
const BLOCK_BYTES = 1 << 20;
const FLUSH_TOKENS = 1 << 18;
/** A smaller file is encoded before other threads have begun. */
const THREADED_BYTES = 4 * 2 ** 20;

/** Small files are known by their content, large ones by path, size, time of change and both ends. */
function keyOf(file: CorpusFile, source: ByteSource, options: TokenizeOptions): string {
  const hash = createHash("sha256");
  hash.update(
    JSON.stringify([
      1,
      options.tokenizer.fingerprint,
      file.format,
      options.textField ?? "text",
      source.byteLength,
      ...frameKey(options),
    ]),
  );
  if (source.byteLength <= HASHED_WHOLE_BYTES) hashSource(hash, source);
  else {
    hash.update(
      JSON.stringify([resolve(file.path), String(statSync(file.path, { bigint: true }).mtimeNs)]),
    );
    hashSource(hash, source, 0, BLOCK_BYTES);
    hashSource(hash, source, source.byteLength - BLOCK_BYTES);
  }
  return hash.digest("hex").slice(0, 24);
}

/** What a key has of the frame: nothing for the usual one. */
function frameKey({ tokenizer, frame }: TokenizeOptions): readonly unknown[] {
  const { before, after, between } = frame ?? trainingFrame(tokenizer, "none");
  const end = tokenizer.special.endOfText;
  const isUsual = before.length + between.length === 0 && after.length <= 1 && after[0] === end;
  return isUsual ? [] : [before, after, between];
}

function sha256Of(path: string): string {
  return withFileSource(path, (source) => hashSource(createHash("sha256"), source).digest("hex"));
}

/** The facts of a token file if they are whole and the file fits them; a damaged cache is worth nothing. */
function trustedFacts(path: string, tokenizer: Tokenizer): TokenFileFacts | undefined {
  try {
    const facts = JSON.parse(
      Buffer.from(readSmallFile(`${path}.json`, 1 << 20)).toString(),
    ) as Partial<TokenFileFacts>;
    const { width, tokenCount, sha256 } = facts;
    requireVersion(facts.version, path);
    if (
      facts.format !== "anecdote tokens" ||
      facts.version !== CACHE_VERSION ||
      facts.tokenizer !== tokenizer.fingerprint
    )
      return undefined;
    if (
      (width !== 2 && width !== 4) ||
      !Number.isSafeInteger(tokenCount) ||
      typeof sha256 !== "string"
    )
      return undefined;
    const byteLength = statSync(path).size;
    if (byteLength !== (tokenCount ?? 0) * width) return undefined;
    if (byteLength <= VERIFIED_BYTES && sha256Of(path) !== sha256) return undefined;
    return facts as TokenFileFacts;
  } catch (error) {
    if (error instanceof TextError && error.code === LATER_CACHE) throw error;
    return undefined;
  }
}

const LATER_CACHE = "text.cache.version";

/** Throws `TextError` for a cache of a later format: another version still trains on it. */
function requireVersion(version: unknown, path: string): void {
  const later = laterVersion(version, CACHE_VERSION);
  if (later === undefined) return;
  throw new TextError(LATER_CACHE, `the token cache ${path}.json ${later}`, {
    remedy: `${LATER_VERSION_REMEDY} Or remove it: it is made again.`,
  });
}

function tokenize(
  file: CorpusFile,
  source: ByteSource,
  path: string,
  options: TokenizeOptions,
): TokenFileFacts {
  const { tokenizer } = options;
  const width = narrowestWidth(tokenizer.vocabularySize);
  const report = (byteCount: number): void =>
    options.onProgress?.({ path: file.path, byteCount, byteTotal: source.byteLength });
  const documents = readDocuments(file, source, options.textField ?? "text", report);
  const hash = createHash("sha256");
  let tokenCount = 0;
  let documentCount = 0;
  let unknownCount = 0;
  writeFileAtomically(path, (write) => {
    const block = width === 2 ? new Uint16Array(FLUSH_TOKENS) : new Uint32Array(FLUSH_TOKENS);
    let filled = 0;
    const flush = (): void => {
      const bytes = new Uint8Array(block.buffer, 0, filled * width);
      hash.update(bytes);
      write(bytes);
      tokenCount += filled;
      filled = 0;
    };
    const frame = options.frame ?? trainingFrame(tokenizer, "none");
    const parts = cutDocuments(documents, tokenizer, frame, file.path);
    const threads = source.byteLength < THREADED_BYTES ? 1 : (options.threads ?? defaultThreads());
    for (const { ids, endsDocument } of encodeParts(parts, tokenizer, threads)) {
      if (endsDocument) documentCount++;
      for (const id of ids) {
        if (id === tokenizer.special.unknown) unknownCount++;
        block[filled++] = id;
        if (filled === FLUSH_TOKENS) flush();
      }
    }
    flush();
    if (tokenCount === 0) throw new TextError("text.empty", `${file.path} has no text in it`);
  });
  return {
    format: "anecdote tokens",
    version: CACHE_VERSION,
    width,
    tokenCount,
    documentCount,
    unknownCount,
    vocabularySize: tokenizer.vocabularySize,
    tokenizer: tokenizer.fingerprint,
    source: file.path,
    sha256: hash.digest("hex"),
  };
}

/**
 * The tokens of a text or jsonl file: tokenized once, kept in the cache folder, read by position from then on.
 * The cache is found again by the file's content (or size and time, above 64 MiB) and the tokenizer; a file that does
 * not match its checksum is made again. Throws `TextError` for what is wrong in the text.
 */
export function cachedTokens(file: CorpusFile, options: TokenizeOptions): CachedTokens {
  const source = openFileSource(file.path);
  try {
    if (source.byteLength === 0) throw new TextError("text.empty", `${file.path} is empty`);
    const path = join(options.cacheFolder, `${keyOf(file, source, options)}.tokens.bin`);
    const existed = existsSync(path);
    let facts = trustedFacts(path, options.tokenizer);
    const state = facts !== undefined ? "found" : existed ? "remade" : "made";
    if (facts === undefined) {
      // Without its facts a half-made pair is never taken for a whole one.
      rmSync(`${path}.json`, { force: true });
      const unpacked = openCorpus(file);
      try {
        facts = tokenize(file, unpacked, path, options);
      } finally {
        unpacked.close();
      }
      writeWholeFile(`${path}.json`, `${JSON.stringify(facts, undefined, 2)}\n`);
    }
    const tokens = openTokenFile(path, {
      vocabularySize: options.tokenizer.vocabularySize,
      width: facts.width,
    });
    return { tokens, facts, state };
  } finally {
    source.close();
  }
}
