import { existsSync } from "node:fs";
import { readModelConfig } from "../model/index.ts";
import { readSmallFile } from "../util/byte-source.ts";
import { TextError } from "./errors.ts";
import { PIECE_KINDS, scoredTokenizer } from "./sentencepiece-json.ts";
import { llama2cTokenizerPaths } from "./has-tokenizer.ts";
import type { DescribedTokenizer } from "./simple-tokenizers.ts";

const BYTE_LIMIT = 64 << 20;
const BEGIN = 1;
const END = 2;

function tokenizerFile(checkpoint: string, vocabularySize: number): string {
  const paths = llama2cTokenizerPaths(checkpoint, vocabularySize);
  const found = paths.find((path) => existsSync(path));
  if (found !== undefined) return found;
  throw new TextError(
    "text.tokenizer.missing",
    `${checkpoint} is a checkpoint of llama2.c, and there is neither ${paths.join(" nor ")}`,
    { remedy: "Put its tokenizer.bin there, or give one: --tokenizer DIR." },
  );
}

/** The tokenizer of a llama2.c checkpoint, from `tokenizer.bin` beside it. Throws `TextError` for a damaged file. */
export function llama2cTokenizer(checkpoint: string): DescribedTokenizer {
  const { vocabularySize } = readModelConfig(checkpoint);
  const path = tokenizerFile(checkpoint, vocabularySize);
  const { pieces, scores } = readPieces(path, vocabularySize);
  const kinds = pieces.map((piece, id) => {
    if (id === 0) return PIECE_KINDS.unknown;
    if (id === BEGIN || id === END) return PIECE_KINDS.control;
    return /^<0x[0-9A-F]{2}>$/.test(piece) ? PIECE_KINDS.byte : PIECE_KINDS.normal;
  });
  const config = {
    tokenizer_class: "PreTrainedTokenizerFast",
    clean_up_tokenization_spaces: false,
    bos_token: "<s>",
    eos_token: "</s>",
    unk_token: pieces[0] ?? "<unk>",
  };
  const scored = { pieces, scores, kinds, addsSpace: true, before: [BEGIN], after: [] };
  return scoredTokenizer(scored, config, path);
}

/** u32 longest piece, then for each piece fp32 score, u32 length, bytes. Spaces stand as spaces. */
function readPieces(
  path: string,
  count: number,
): { readonly pieces: readonly string[]; readonly scores: readonly number[] } {
  const bytes = Buffer.from(readSmallFile(path, BYTE_LIMIT));
  const pieces: string[] = [];
  const scores: number[] = [];
  let at = 4;
  for (let id = 0; id < count; id++) {
    const length = at + 8 <= bytes.length ? bytes.readUInt32LE(at + 4) : Infinity;
    if (at + 8 + length > bytes.length) {
      throw new TextError(
        "text.tokenizer.size",
        `${path} ends in piece ${id}; the checkpoint has a vocabulary of ${count}`,
        { remedy: "Give the tokenizer.bin that belongs to the checkpoint." },
      );
    }
    scores.push(bytes.readFloatLE(at));
    const text = bytes.subarray(at + 8, at + 8 + length).toString("utf8");
    // llama2.c writes begin and end with line feeds around them.
    pieces.push(id === BEGIN || id === END ? text.trim() : text.replaceAll(" ", "▁"));
    at += 8 + length;
  }
  if (at !== bytes.length) {
    throw new TextError(
      "text.tokenizer.size",
      `${path} has ${bytes.length - at} bytes after its ${count} pieces, as many as the checkpoint's vocabulary has`,
      { remedy: "Give the tokenizer.bin that belongs to the checkpoint." },
    );
  }
  return { pieces, scores };
}
