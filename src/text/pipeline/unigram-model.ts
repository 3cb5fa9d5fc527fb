import { TextError } from "../errors.ts";
import type { ModelJson } from "../tokenizer-json.ts";
import type { IdList } from "./id-list.ts";
import { UnitTrie } from "./unit-trie.ts";
import { WordMemory } from "./word-memory.ts";
import type { WordModel } from "./word-model.ts";

/** How much less likely than the least likely token an unknown character is. Source: sentencepiece. */
const UNKNOWN_PENALTY = 10;

/**
 * SentencePiece's unigram model: the tokens whose scores have the largest sum. Neighbouring unknown characters are one
 * unknown token, or the tokens of their bytes.
 */
export class UnigramModel implements WordModel {
  readonly #idOf = new Map<string, number>();
  readonly #scores: Float64Array;
  readonly #trie = new UnitTrie();
  readonly #unknownId: number | undefined;
  readonly #unknownScore: number;
  readonly #byteIds: readonly (number | undefined)[] | undefined;
  readonly #memory = new WordMemory();

  constructor(model: ModelJson) {
    const vocab = Array.isArray(model.vocab)
      ? (model.vocab as readonly (readonly [string, number])[])
      : [];
    vocab.forEach(([token], id) => this.#idOf.set(token, id));
    for (const [token, id] of this.#idOf) if (token !== "") this.#trie.add(token, id);
    this.#scores = Float64Array.from(vocab, ([, score]) => score);
    const unknown = model["unk_id"] ?? undefined;
    if (
      unknown !== undefined &&
      !(Number.isInteger(unknown) && typeof unknown === "number" && unknown < vocab.length)
    ) {
      throw new TextError(
        "text.tokenizer.id",
        `model.unk_id ${JSON.stringify(unknown)} is not one of the ${vocab.length} tokens`,
      );
    }
    this.#unknownId = unknown;
    let lowest = Infinity;
    for (const score of this.#scores) lowest = Math.min(lowest, score);
    this.#unknownScore = lowest - UNKNOWN_PENALTY;
    if (model["byte_fallback"] === true) {
      this.#byteIds = Array.from({ length: 256 }, (_, byte) =>
        this.#idOf.get(`<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`),
      );
    }
  }

  encode(piece: string, ids: IdList): void {
    const known = this.#memory.get(piece);
    if (known !== undefined) {
      ids.append(known);
      return;
    }
    const first = ids.length;
    for (const { start, end } of this.#bestPath(piece)) this.#add(piece.slice(start, end), ids);
    this.#memory.set(piece, () => ids.from(first));
  }

  /** The best tokens from the first to the last, unknown neighbours as one. */
  #bestPath(piece: string): readonly { readonly start: number; readonly end: number }[] {
    const length = piece.length;
    const bestScore = new Float64Array(length + 1);
    const bestStart = new Int32Array(length + 1).fill(-1);
    const bestId = new Int32Array(length + 1);
    const offer = (start: number, end: number, id: number, score: number): void => {
      if (bestStart[end] !== -1 && !(score > (bestScore[end] ?? 0))) return;
      bestScore[end] = score;
      bestStart[end] = start;
      bestId[end] = id;
    };
    for (let start = 0; start < length;) {
      const scoreHere = bestScore[start] ?? 0;
      const width = (piece.codePointAt(start) ?? 0) > 0xffff ? 2 : 1;
      let hasSingle = false;
      this.#trie.each(piece, start, (end, id) => {
        offer(start, end, id, (this.#scores[id] ?? 0) + scoreHere);
        hasSingle ||= end === start + width;
      });
      if (!hasSingle) {
        const unknown = this.#unknownId;
        if (unknown === undefined) return failOnUnknown(piece, start, width);
        offer(start, start + width, unknown, this.#unknownScore + scoreHere);
      }
      start += width;
    }
    const path: { start: number; end: number }[] = [];
    let unknownEnd = -1;
    for (let end = length; end > 0;) {
      const start = bestStart[end] ?? 0;
      if (this.#unknownId !== undefined && bestId[end] === this.#unknownId) {
        if (unknownEnd < 0) unknownEnd = end;
      } else {
        if (unknownEnd >= 0) path.push({ start: end, end: unknownEnd });
        unknownEnd = -1;
        path.push({ start, end });
      }
      end = start;
    }
    if (unknownEnd >= 0) path.push({ start: 0, end: unknownEnd });
    return path.reverse();
  }

  #add(token: string, ids: IdList): void {
    const id = this.#idOf.get(token);
    if (id !== undefined) {
      ids.push(id);
      return;
    }
    const bytes = Array.from(Buffer.from(token), (byte) => this.#byteIds?.[byte]);
    if (bytes.every((byte) => byte !== undefined)) {
      for (const byte of bytes) ids.push(byte);
      return;
    }
    if (this.#unknownId === undefined) failOnUnknown(token, 0, token.length);
    ids.push(this.#unknownId);
  }
}

function failOnUnknown(piece: string, start: number, length: number): never {
  throw new TextError(
    "text.unknown",
    `the vocabulary cannot spell ${JSON.stringify(piece.slice(start, start + length))} and has no token for unknown text`,
  );
}
