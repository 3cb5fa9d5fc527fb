import { createHash } from "node:crypto";
import { corpusName, findCorpusFiles } from "./corpus-files.ts";
import type { CorpusFile, CorpusPaths } from "./corpus-files.ts";
import { openCorpus, readDocuments } from "./corpus-source.ts";
import { TextError } from "./errors.ts";
import { cachedTokens } from "./token-cache.ts";
import type { CachedTokens, TokenizeOptions } from "./token-cache.ts";
import { openTokenFile } from "./token-file.ts";
import type { TokenWidth } from "./token-file.ts";
import { joinTokens, memoryTokens, sliceTokens } from "./token-view.ts";
import type { TokenView } from "./token-view.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { withFileSource } from "../util/byte-source.ts";
import { defined } from "../util/defined.ts";

/** How text becomes tokens. */
export interface OpenDatasetOptions extends Omit<TokenizeOptions, "tokenizer"> {
  /** Needed for text and jsonl. Ids of a `.bin` file need only `vocabularySize`. */
  readonly tokenizer?: Tokenizer | undefined;
  /** Ids must be below it; default: the tokenizer's. */
  readonly vocabularySize?: number | undefined;
  /** Bytes of an id in `.bin` files; default: found out, see `openTokenFile`. */
  readonly tokenWidth?: TokenWidth | undefined;
  /** Last part of the training tokens that is set aside when there is no validation file. Default 0.1; 0 keeps all. */
  readonly validationFraction?: number | undefined;
}

/** What became of one file of the data set. */
export interface DatasetFileReport {
  readonly path: string;
  readonly split: "train" | "validation" | "test";
  readonly tokenCount: number;
  readonly documentCount: number | undefined;
  readonly unknownCount: number;
  readonly cache: CachedTokens["state"] | "none";
  /** Tells the file's tokens from others. */
  readonly digest: string;
}

const DIGESTED_BYTES = 64 * 2 ** 20;
const DIGESTED_BLOCKS = 64;

/** Of a file's content; of a large file, its length and blocks from all over it. */
function fileDigest(path: string): string {
  return withFileSource(path, (source) => {
    const hash = createHash("sha256").update(`${source.byteLength}`);
    const blockBytes = 1 << 20;
    const count = Math.ceil(source.byteLength / blockBytes);
    const isWhole = source.byteLength <= DIGESTED_BYTES;
    const step = isWhole ? 1 : Math.max(1, Math.floor((count - 1) / (DIGESTED_BLOCKS - 1)));
    for (let block = 0; block < count; block += step) {
      const offset = block * blockBytes;
      hash.update(source.read(offset, Math.min(blockBytes, source.byteLength - offset)));
    }
    return hash.digest("hex");
  });
}

/** Tells a data set's training tokens from others of the same length. */
export function trainingDigest({ files }: Pick<Dataset, "files">): string {
  const hash = createHash("sha256");
  for (const { split, tokenCount, digest } of files)
    if (split === "train") hash.update(`${tokenCount} ${digest}\n`);
  return hash.digest("hex");
}

/** `lead` before the first token of a view. */
export function withLead(view: TokenView, lead: readonly number[]): TokenView {
  return lead.length === 0
    ? view
    : joinTokens([memoryTokens(Int32Array.from(lead)), view], view.name);
}

/** Tokens to train on and to judge by. */
export interface Dataset {
  readonly train: TokenView;
  readonly validation: TokenView | undefined;
  readonly test: TokenView | undefined;
  readonly files: readonly DatasetFileReport[];
  /** Closes the token files. */
  close(): void;
}

/**
 * Opens a data set: files, patterns of them, or a folder of files named train, valid and test. Text is
 * tokenized once into the cache folder; tokens are read by position, so memory does not grow with the data.
 * Throws `TextError`, one for the first thing that is wrong.
 */
export function openDataset(paths: CorpusPaths, options: OpenDatasetOptions): Dataset {
  const fraction = options.validationFraction ?? 0.1;
  if (!(fraction >= 0 && fraction < 1)) {
    throw new TextError(
      "text.fraction",
      `the validation fraction must be at least 0 and below 1, found ${fraction}`,
    );
  }
  const path = corpusName(paths);
  const found = findCorpusFiles(paths);
  const closers: (() => void)[] = [];
  const files: DatasetFileReport[] = [];
  const close = (): void => {
    for (const closer of closers.splice(0)) closer();
  };
  const open = (file: CorpusFile, split: DatasetFileReport["split"]): TokenView => {
    const { tokenizer } = options;
    if (file.format === "tokens") {
      const vocabularySize = options.vocabularySize ?? tokenizer?.vocabularySize;
      if (vocabularySize === undefined) {
        throw new TextError(
          "text.vocabulary",
          `${file.path} holds token ids: say of which tokenizer or vocabulary size`,
        );
      }
      const tokens = openTokenFile(file.path, {
        vocabularySize,
        ...defined({ width: options.tokenWidth }),
      });
      closers.push(() => tokens.close());
      const { tokenCount } = tokens;
      files.push({
        ...{ path: file.path, split, tokenCount, documentCount: undefined, unknownCount: 0 },
        ...{ cache: "none", digest: fileDigest(file.path) },
      });
      return tokens;
    }
    if (tokenizer === undefined)
      throw new TextError(
        "text.tokenizer.missing",
        `${file.path} is text: say which tokenizer encodes it`,
      );
    const { tokens, facts, state } = cachedTokens(file, { ...options, tokenizer });
    closers.push(() => tokens.close());
    const { tokenCount, documentCount, unknownCount } = facts;
    files.push({
      ...{ path: file.path, split, tokenCount, documentCount, unknownCount, cache: state },
      digest: facts.sha256,
    });
    // The whole of it under the user's name, not the cache's.
    return sliceTokens(tokens, 0, tokens.tokenCount, file.path);
  };
  const openAll = (split: DatasetFileReport["split"]): TokenView | undefined => {
    const views = found[split].map((file) => open(file, split));
    return views.length === 0 ? undefined : joinTokens(views, `${split} data of ${path}`);
  };
  try {
    const train = openAll("train");
    const validation = openAll("validation");
    const test = openAll("test");
    const lead = options.frame?.lead ?? [];
    if (train === undefined) throw new TextError("text.folder", `${path} has no training data`);
    const led = (view: TokenView): TokenView =>
      found.train[0]?.format === "tokens" ? view : withLead(view, lead);
    if (validation !== undefined || fraction === 0) {
      return {
        train: led(train),
        validation: validation && led(validation),
        test: test && led(test),
        files,
        close,
      };
    }
    const cut = train.tokenCount - Math.max(1, Math.round(train.tokenCount * fraction));
    return {
      train: led(sliceTokens(train, 0, cut)),
      validation: sliceTokens(
        train,
        cut,
        train.tokenCount,
        `the last ${fraction * 100} % of ${path}`,
      ),
      test,
      files,
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

/**
 * Texts of a data set's training files, for training a tokenizer: all of it, or the first `byteLimit` bytes.
 * Throws `TextError` `text.format` when the data are token ids.
 */
export function* trainingTexts(
  paths: CorpusPaths,
  options: { readonly byteLimit?: number; readonly textField?: string } = {},
): Generator<string> {
  let left = options.byteLimit ?? Infinity;
  for (const file of findCorpusFiles(paths).train) {
    if (file.format === "tokens") {
      throw new TextError(
        "text.format",
        `${file.path} holds token ids, a tokenizer is trained on text`,
      );
    }
    const source = openCorpus(file);
    try {
      const pieces = readDocuments(file, source, options.textField ?? "text");
      for (const { text } of pieces) {
        if (text === "") continue;
        yield text;
        left -= Buffer.byteLength(text);
        if (left <= 0) return;
      }
    } finally {
      source.close();
    }
  }
}
