// A model of stories15M's sizes with drawn weights and a vocabulary of 32,000 pieces, in the three layouts in which such
// models are had: llama2.c's file with its tokenizer, a folder, a GGUF file.
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const SIZES = { channels: 288, ffn: 768, layers: 6, heads: 6, vocabulary: 32_000, context: 256 };

/** A plain generator of numbers from 0 to 1, the same everywhere. */
function drawing(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return (state >>> 8) / 2 ** 24;
  };
}

function writeModel(path) {
  const { channels, ffn, layers, heads, vocabulary, context } = SIZES;
  const random = drawing(1);
  const drawn = (count) => Float32Array.from({ length: count }, () => (random() - 0.5) * 0.1);
  const ones = (count) => new Float32Array(count).fill(1);
  const square = layers * channels * channels;
  const gate = layers * channels * ffn;
  const header = Int32Array.of(channels, ffn, layers, heads, heads, vocabulary, context);
  const parts = [
    ...[drawn(vocabulary * channels), ones(layers * channels)],
    ...[drawn(square), drawn(square), drawn(square), drawn(square), ones(layers * channels)],
    ...[drawn(gate), drawn(gate), drawn(gate), ones(channels)],
    ones((context * channels) / heads),
  ];
  writeFileSync(path, Buffer.concat([header, ...parts].map(({ buffer }) => Buffer.from(buffer))));
}

/** Pieces that are put together from earlier ones, most of them words with a space before them. */
function pieces() {
  const random = drawing(2);
  const letters = " etaoinshrdlcumwfgypbvkxjqz.,'!?ETAOINSHRDLCUMWFGYPBVKXJQZ0123456789";
  const found = new Set(letters);
  const list = [...found];
  while (list.length < SIZES.vocabulary - 259) {
    // Earlier pieces are likelier, and a space stands only where a piece begins.
    const pick = () => list[Math.floor(list.length * random() ** 3)];
    const [left, right] = [pick(), pick()];
    const piece = left + right;
    if (piece.length > 14 || right.startsWith(" ") || found.has(piece)) continue;
    found.add(piece);
    list.push(piece);
  }
  return list;
}

function writeTokenizer(path) {
  const bytes = Array.from(
    { length: 256 },
    (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
  );
  const entries = ["<unk>", "\n<s>\n", "\n</s>\n", ...bytes, ...pieces()];
  const written = entries.flatMap((piece, id) => {
    const text = Buffer.from(piece);
    const head = Buffer.alloc(8);
    head.writeFloatLE(id < 259 ? 0 : 259 - id, 0);
    head.writeInt32LE(text.length, 4);
    return [head, text];
  });
  const longest = Buffer.alloc(4);
  longest.writeInt32LE(27);
  writeFileSync(path, Buffer.concat([longest, ...written]));
}

/** Writes the models into a folder, by a build's own commands, and gives their paths. */
export function writeFirstTokenModels(folder, root) {
  const anecdote = (...words) => {
    const args = [join(root, "bin/anecdote.mjs"), ...words];
    const { status, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
    if (status !== 0) throw new Error(`${words.join(" ")}: ${stderr}`);
  };
  mkdirSync(join(folder, "llama2c"));
  const file = join(folder, "llama2c", "model.bin");
  writeModel(file);
  writeTokenizer(join(folder, "llama2c", "tokenizer.bin"));
  const exported = join(folder, "exported");
  const gguf = join(folder, "model.gguf");
  anecdote("export", "--model", file, "--output", exported);
  anecdote("convert", exported, gguf, "--dtype", "f32");
  return { "llama2.c": file, folder: exported, GGUF: gguf };
}
