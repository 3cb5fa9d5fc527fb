import { TextError } from "../errors.ts";
import type { ModelJson } from "../tokenizer-json.ts";
import type { IdList } from "./id-list.ts";
import { WordMemory } from "./word-memory.ts";
import type { WordModel } from "./word-model.ts";

const LONGEST_WORD_PIECE = 100;

function unknownIdOf(
  model: ModelJson,
  vocab: ReadonlyMap<string, number>,
  fallback: string | undefined,
): (word: string) => number {
  const name = model["unk_token"] ?? fallback;
  const id = typeof name === "string" ? vocab.get(name) : undefined;
  return (word) => {
    if (id !== undefined) return id;
    throw new TextError(
      "text.unknown",
      `the vocabulary cannot spell ${JSON.stringify(word.slice(0, 40))} and has no token for unknown text`,
    );
  };
}

/** Every piece is one token. */
export class WordLevelModel implements WordModel {
  readonly #vocab: ReadonlyMap<string, number>;
  readonly #unknownId: (word: string) => number;

  constructor(model: ModelJson, vocab: ReadonlyMap<string, number>) {
    this.#vocab = vocab;
    this.#unknownId = unknownIdOf(model, vocab, undefined);
  }

  encode(piece: string, ids: IdList): void {
    ids.push(this.#vocab.get(piece) ?? this.#unknownId(piece));
  }
}

/** BERT's: the longest token that a piece begins with, then the longest with a prefix, and so on. */
export class WordPieceModel implements WordModel {
  readonly #vocab: ReadonlyMap<string, number>;
  readonly #unknownId: (word: string) => number;
  readonly #prefix: string;
  readonly #longest: number;
  readonly #memory = new WordMemory();

  constructor(model: ModelJson, vocab: ReadonlyMap<string, number>) {
    this.#vocab = vocab;
    this.#unknownId = unknownIdOf(model, vocab, "[UNK]");
    const prefix = model["continuing_subword_prefix"];
    this.#prefix = typeof prefix === "string" ? prefix : "##";
    const longest = model["max_input_chars_per_word"];
    this.#longest = typeof longest === "number" ? longest : LONGEST_WORD_PIECE;
  }

  encode(piece: string, ids: IdList): void {
    const known = this.#memory.get(piece);
    if (known !== undefined) {
      ids.append(known);
      return;
    }
    const found = Uint32Array.from(this.#idsOf(piece));
    this.#memory.set(piece, () => found);
    ids.append(found);
  }

  #idsOf(piece: string): readonly number[] {
    const characters = Array.from(piece);
    if (characters.length > this.#longest) return [this.#unknownId(piece)];
    const ids: number[] = [];
    for (let start = 0; start < characters.length;) {
      let end = characters.length;
      let id: number | undefined;
      for (; end > start; end--) {
        const spelled = characters.slice(start, end).join("");
        id = this.#vocab.get(start > 0 ? this.#prefix + spelled : spelled);
        if (id !== undefined) break;
      }
      if (id === undefined) return [this.#unknownId(piece)];
      ids.push(id);
      start = end;
    }
    return ids;
  }
}
