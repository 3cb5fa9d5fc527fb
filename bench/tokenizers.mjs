// How long tokenizers take beside Hugging Face's own library (Rust, @anush008/tokenizers), on a megabyte of English, of
// Chinese and of one long line, in turn in one process; medians of processor time, and the ids compared. Then the
// memory that a document of any length takes. Prints a line each and, with --json, one object.
//
//   npm run bench:tokenizers -- [--tokenizer FILE] [--rounds 5] [--megabytes 1] [--document-megabytes 8,32] [--json]
//
// Without --tokenizer two are trained on the stories: GPT-2's kind, and Llama's with the same merges.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { trainBpe } from "../dist/text/bpe-trainer.js";
import { bytesOfSpelling } from "../dist/text/byte-level.js";
import { encodeDocuments } from "../dist/text/piece-encoder.js";
import { generateStories } from "../dist/text/stories/generate.js";
import { checkTokenizerJson } from "../dist/text/tokenizer-json.js";
import { runTokenizer } from "../dist/text/tokenizer-runner.js";
import { median } from "./median.mjs";

const { Tokenizer } = createRequire(import.meta.url)("@anush008/tokenizers");

const { values } = parseArgs({
  options: {
    tokenizer: { type: "string", multiple: true, default: [] },
    rounds: { type: "string", default: "5" },
    megabytes: { type: "string", default: "1" },
    "document-megabytes": { type: "string", default: "8,32" },
    json: { type: "boolean", default: false },
  },
});
const ROUNDS = Number(values.rounds);
const BYTES = Number(values.megabytes) * 1e6;

const stories = [...generateStories({ seed: 3, count: 4000 })].map(({ text }) => text);

/** Text of so many bytes. */
function repeated(part, byteLength) {
  const text = part.repeat(Math.ceil(byteLength / Buffer.byteLength(part)));
  return Buffer.from(text).subarray(0, byteLength).toString().replaceAll("\ufffd", "");
}

const english = stories.join("\n\n");
/** Characters by a fixed rule, some common and many rare, in sentences. */
const chinese = Array.from({ length: 60_000 }, (_, index) => {
  if (index % 23 === 22) return "。";
  const place = (index * index * 7 + index * 13) % 9973;
  return String.fromCodePoint(0x4e00 + (place % (place % 5 === 0 ? 4000 : 300)));
}).join("");
const TEXTS = {
  English: repeated(english, BYTES),
  Chinese: repeated(chinese, BYTES),
  "one line": repeated(english.replaceAll("\n", " "), BYTES),
};

/** The merges of a byte-level tokenizer as Llama's kind has them: words begin with ▁, nothing cuts the text before. */
function likeLlama({ model }) {
  const plain = (piece) =>
    Buffer.from(bytesOfSpelling(piece) ?? Buffer.from(piece))
      .toString()
      .replaceAll(" ", "▁");
  const isWhole = (piece) => !plain(piece).includes("\ufffd");
  const bytes = Array.from({ length: 256 }, (_, byte) => {
    return `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
  });
  const kept = Object.keys(model.vocab).filter(isWhole).map(plain);
  const pieces = [...new Set(["<unk>", "<s>", "</s>", ...bytes, ...kept])];
  const merges = model.merges
    .map((merge) => (Array.isArray(merge) ? merge : merge.split(" ")))
    .filter((pair) => pair.every(isWhole))
    .map((pair) => pair.map(plain));
  return {
    ...{
      version: "1.0",
      truncation: null,
      padding: null,
      pre_tokenizer: null,
      post_processor: null,
    },
    added_tokens: [],
    normalizer: {
      type: "Sequence",
      normalizers: [
        { type: "Prepend", prepend: "▁" },
        { type: "Replace", pattern: { String: " " }, content: "▁" },
      ],
    },
    decoder: null,
    model: {
      ...{ type: "BPE", dropout: null, unk_token: "<unk>", continuing_subword_prefix: null },
      ...{ end_of_word_suffix: null, fuse_unk: true, byte_fallback: true, ignore_merges: false },
      vocab: Object.fromEntries(pieces.map((piece, id) => [piece, id])),
      merges,
    },
  };
}

function chosen() {
  if (values.tokenizer.length > 0)
    return values.tokenizer.map((path) => [path, JSON.parse(readFileSync(path, "utf8"))]);
  const { json } = trainBpe(stories.slice(0, 1000), { vocabularySize: 3000 });
  return [
    ["GPT-2's kind", json],
    ["Llama's kind", likeLlama(json)],
  ];
}

async function cpuMsOf(work) {
  const before = process.cpuUsage();
  const result = await work();
  const { user, system } = process.cpuUsage(before);
  return [(user + system) / 1e3, result];
}

const rows = [];
for (const [name, json] of chosen()) {
  const own = runTokenizer(checkTokenizerJson(json, name), {}, name);
  const rust = Tokenizer.fromString(JSON.stringify(json));
  for (const [what, text] of Object.entries(TEXTS)) {
    const [ours, theirs] = [[], []];
    let isSame = true;
    for (let round = 0; round < ROUNDS; round++) {
      const [ownMs, ids] = await cpuMsOf(() => own.encode(text));
      const [rustMs, encoding] = await cpuMsOf(() =>
        rust.encode(text, null, { addSpecialTokens: false }),
      );
      ours.push(ownMs);
      theirs.push(rustMs);
      if (round === 0) {
        const wanted = encoding.getIds();
        isSame = wanted.length === ids.length && wanted.every((id, index) => id === ids[index]);
      }
    }
    const row = {
      tokenizer: name,
      text: what,
      bytes: Buffer.byteLength(text),
      first_ms: ours[0],
      ms: median(ours),
      rust_ms: median(theirs),
      ratio: median(ours) / median(theirs),
      same_ids: isSame,
    };
    rows.push(row);
    if (!values.json)
      console.log(
        `${name}, ${what}: ${row.ms.toFixed(0)} ms of processor time (first time ${row.first_ms.toFixed(0)}), Rust ${row.rust_ms.toFixed(0)}, ratio ${row.ratio.toFixed(2)}, ids ${isSame ? "the same" : "DIFFER"}`,
      );
  }
}

// Documents arrive in pieces: what is held does not grow with them.
const memory = [];
for (const [name, json] of chosen()) {
  const own = runTokenizer(checkTokenizerJson(json, name), {}, name);
  for (const megabytes of values["document-megabytes"].split(",").map(Number)) {
    const text = TEXTS["one line"];
    const part = 1 << 16;
    const pieces = function* () {
      for (let done = 0; done < megabytes * 1e6; done += part) {
        const at = done % (text.length - part);
        yield { text: text.slice(at, at + part), endsDocument: done + part >= megabytes * 1e6 };
      }
    };
    let tokenCount = 0;
    const before = process.memoryUsage().rss;
    let most = before;
    const frame = { before: [], after: [], between: [] };
    for (const { ids } of encodeDocuments(pieces(), own, frame, name)) {
      tokenCount += ids.length;
      most = Math.max(most, process.memoryUsage().rss);
    }
    const row = {
      tokenizer: name,
      document_bytes: megabytes * 1e6,
      tokens: tokenCount,
      added_bytes: most - before,
    };
    memory.push(row);
    if (!values.json)
      console.log(
        `${name}, a document of ${megabytes} MB in one line: ${tokenCount} tokens, ${((most - before) / 1e6).toFixed(0)} MB more memory at most`,
      );
  }
}
if (values.json) console.log(JSON.stringify({ rounds: ROUNDS, rows, memory }));
if (rows.some(({ same_ids }) => !same_ids)) process.exitCode = 1;
