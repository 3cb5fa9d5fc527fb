import { createHash } from "node:crypto";
import { messageOf } from "../util/errors.ts";
import { bytesOfSpelling } from "./byte-level.ts";
import { TextError } from "./errors.ts";
import { AddedTokens } from "./pipeline/added-tokens.ts";
import { BpeModel } from "./pipeline/bpe-model.ts";
import { listedMerges } from "./pipeline/listed-merges.ts";
import type { BpeMerges } from "./pipeline/merge-table.ts";
import { compileDecoder, fallbackByte } from "./pipeline/decoders.ts";
import type { Decoder } from "./pipeline/decoders.ts";
import { IdList } from "./pipeline/id-list.ts";
import { compileNormalizer } from "./pipeline/normalizers.ts";
import type { Normalizer } from "./pipeline/normalizers.ts";
import { literalPattern } from "./pipeline/patterns.ts";
import { compilePreTokenizer } from "./pipeline/pre-tokenizers.ts";
import type { PreTokenizer } from "./pipeline/pre-tokenizers.ts";
import { compileTemplate } from "./pipeline/template.ts";
import { UnigramModel } from "./pipeline/unigram-model.ts";
import { WordMemory } from "./pipeline/word-memory.ts";
import type { WordModel } from "./pipeline/word-model.ts";
import { WordLevelModel, WordPieceModel } from "./pipeline/word-models.ts";
import { specialTokenIds } from "./special-tokens.ts";
import { byteStreamDecoder, windowStreamDecoder } from "./stream-decoder.ts";
import { isLowSurrogate } from "./surrogates.ts";
import type {
  ComponentJson,
  TokenizerConfigJson,
  TokenizerFrame,
  TokenizerJson,
} from "./tokenizer-json.ts";
import type {
  DecodeOptions,
  EncodeOptions,
  Place,
  SpecialTokenIds,
  StreamEncoder,
  StreamOptions,
  Template,
  Tokenizer,
  TokenizerSource,
} from "./tokenizer.ts";

/** The split that the character tokenizer writes: every character alone. */
export const CHARACTER_SPLIT = {
  type: "Split",
  pattern: { Regex: "[\\s\\S]" },
  behavior: "Isolated",
  invert: false,
} as const;

/** Characters on each side of a cut that are encoded to see whether it is one. */
const CHECKED_EACH_SIDE = 64;
/** Ids whose text shows what another one adds to it. */
const NEIGHBOURS = 3;
/** Ids of a prompt that a continuation is decoded with. */
const CONTEXT_IDS = 16;

/** Between a character that is not white space and a space or line feed followed by one that is not. */
function isWordGap(text: string, index: number): boolean {
  const isBlank = (at: number): boolean => /\s/u.test(text.charAt(at));
  if (text.charAt(index) === " ")
    return !isBlank(index - 1) && index + 1 < text.length && !isBlank(index + 1);
  return text.charAt(index - 1) === "\n" && index >= 2 && !isBlank(index - 2) && !isBlank(index);
}

function isCharacterSplit(component: ComponentJson): boolean {
  return JSON.stringify(component) === JSON.stringify(CHARACTER_SPLIT);
}

/** Whether a pre-tokenizer splits at a text that the normalizer leaves none of, as Gemma's does. */
function splitsNothing(before: ComponentJson, normalizer: ComponentJson | null): boolean {
  const searched = before.type === "Split" ? literalPattern(before) : undefined;
  if (searched === undefined || normalizer?.type !== "Replace") return false;
  const replaced = literalPattern(normalizer);
  const content = normalizer["content"];
  return (
    replaced !== undefined &&
    typeof content === "string" &&
    searched === replaced &&
    replaced.length === 1 &&
    !content.includes(replaced) &&
    before["invert"] !== true
  );
}

function modelOf(json: TokenizerJson, vocab: ReadonlyMap<string, number>): WordModel {
  const { model } = json;
  switch (model.type) {
    case "BPE":
      return new BpeModel(model, vocab, listedMerges(model, vocab));
    case "Unigram":
      return new UnigramModel(model);
    case "WordPiece":
      return new WordPieceModel(model, vocab);
    case "WordLevel":
      return new WordLevelModel(model, vocab);
    default:
      throw new TextError("text.tokenizer.model", `model.type ${model.type} is not known`);
  }
}

function vocabularyOf({ model }: TokenizerJson): Map<string, number> {
  const ids = new Map<string, number>();
  if (Array.isArray(model.vocab)) {
    const entries = model.vocab as readonly (readonly [string, number])[];
    entries.forEach(([token], id) => ids.set(token, id));
    return ids;
  }
  const vocab = model.vocab as Readonly<Record<string, number>>;
  for (const token of Object.keys(vocab)) ids.set(token, vocab[token] ?? 0);
  return ids;
}

/** What runs: a file's parts, its vocabulary by token, and what joins characters to tokens. */
interface RunningParts {
  readonly frame: TokenizerFrame;
  readonly vocab: ReadonlyMap<string, number>;
  readonly model: WordModel;
  readonly source: TokenizerSource;
}

class RunningTokenizer implements Tokenizer {
  readonly modelType: string;
  readonly vocabularySize: number;
  readonly special: SpecialTokenIds;
  readonly template: Template;
  readonly source: TokenizerSource;
  readonly encodesInPieces: boolean;
  #fingerprint: string | undefined;
  readonly #model: WordModel;
  readonly #normalizer: Normalizer | undefined;
  readonly #preTokenizer: PreTokenizer | undefined;
  /** Every character is encoded by itself, or with its neighbours as the model alone joins them. */
  readonly #cutsAnywhere: boolean;
  /** Tokens found before and after the text is normalized. */
  readonly #added: AddedTokens;
  readonly #addedNormalized: AddedTokens;
  readonly #vocab: ReadonlyMap<string, number>;
  /** Added tokens by spelling; they come before the vocabulary. */
  readonly #addedIds: ReadonlyMap<string, number>;
  readonly #tokens: readonly (string | undefined)[];
  readonly #addedContents: ReadonlySet<string>;
  readonly #specialIds: ReadonlySet<number>;
  readonly #decoder: Decoder | undefined;
  /** The bytes of each token, where a token's bytes do not depend on its neighbours. */
  readonly #bytesOfToken: ((token: string) => Uint8Array) | undefined;
  /** Those that were asked for. */
  readonly #bytes: Uint8Array[] = [];
  readonly #hasByteFallback: boolean;
  /** Ordinary ids, to see what others add to a text. */
  #neighbours: readonly number[] | undefined;
  readonly #memory = new WordMemory();

  constructor({ frame: json, vocab, model, source }: RunningParts) {
    this.source = source;
    this.modelType = json.model.type;
    this.#model = model;
    this.#vocab = vocab;
    this.#addedIds = new Map(json.added_tokens.map(({ content, id }) => [content, id]));
    const tokens: (string | undefined)[] = [];
    for (const [token, id] of vocab) if (!this.#addedIds.has(token)) tokens[id] = token;
    for (const [token, id] of this.#addedIds) tokens[id] = token;
    this.#tokens = tokens;
    this.vocabularySize = tokens.length;
    this.#addedContents = new Set(this.#addedIds.keys());
    this.#specialIds = new Set(
      json.added_tokens.filter((token) => token.special).map((token) => token.id),
    );
    this.special = specialTokenIds(json, source.config, (token) => this.idOf(token));
    this.template = compileTemplate(json.post_processor);
    for (const id of [...this.template.before, ...this.template.after]) this.#requireToken(id);
    const { normalizer, pre_tokenizer: before } = json;
    this.#normalizer = normalizer === null ? undefined : compileNormalizer(normalizer);
    this.#preTokenizer =
      before === null || splitsNothing(before, normalizer)
        ? undefined
        : compilePreTokenizer(before);
    const isNormalized = (token: { readonly normalized: boolean }): boolean =>
      token.normalized && this.#normalizer !== undefined;
    this.#added = new AddedTokens(
      json.added_tokens.filter((token) => !isNormalized(token)),
      (content) => content,
    );
    this.#addedNormalized = new AddedTokens(
      json.added_tokens.filter(isNormalized),
      (content) => this.#normalizer?.normalize(content, false) ?? content,
    );
    const isEachCharacter = before !== null && isCharacterSplit(before);
    this.#cutsAnywhere =
      this.#model.canCutAt !== undefined &&
      (this.#normalizer?.byCharacter ?? true) &&
      (isEachCharacter || (this.#preTokenizer?.byCharacter ?? true));
    this.encodesInPieces =
      this.#normalizer?.stripsEnds !== true &&
      (this.#cutsAnywhere || this.#preTokenizer !== undefined);
    this.#decoder = json.decoder === null ? undefined : compileDecoder(json.decoder);
    this.#bytesOfToken = this.#spellingOf(json);
    this.#hasByteFallback = JSON.stringify(json.decoder).includes('"ByteFallback"');
  }

  get fingerprint(): string {
    const { json } = this.source;
    // What stands around a text does not change the text's own ids.
    this.#fingerprint ??= createHash("sha256")
      .update(JSON.stringify([{ ...json, post_processor: null }, this.special]))
      .digest("hex");
    return this.#fingerprint;
  }

  encode(text: string, options: EncodeOptions = {}): Uint32Array {
    const ids = new IdList(Math.max(16, text.length >> 2));
    const isFramed = options.addSpecialTokens === true;
    if (isFramed) for (const id of this.template.before) ids.push(id);
    for (const section of this.#added.split(text)) {
      if ("id" in section) {
        ids.push(section.id);
        continue;
      }
      const place = section.start === 0 ? (options.place ?? "start") : "inside";
      this.#encodeSection(section.text, { ...options, place }, ids);
    }
    if (isFramed) for (const id of this.template.after) ids.push(id);
    return ids.from(0);
  }

  #encodeSection(
    text: string,
    { place, breaker }: { readonly place: Place; readonly breaker?: string },
    ids: IdList,
  ): void {
    const normalized = this.#normalizer?.normalize(text, place === "continues") ?? text;
    for (const section of this.#addedNormalized.split(normalized)) {
      if ("id" in section) ids.push(section.id);
      else {
        const plain = breaker === undefined ? section.text : section.text.replaceAll(breaker, "");
        this.#encodePlain(plain, section.start === 0 ? place : "inside", ids);
      }
    }
  }

  /** Encodes text without added tokens. */
  #encodePlain(text: string, place: Place, ids: IdList): void {
    const before = this.#preTokenizer;
    if (before === undefined) {
      this.#model.encode(text, ids);
      return;
    }
    for (const piece of before.split(text, place).list) {
      const known = this.#memory.get(piece);
      if (known !== undefined) {
        ids.append(known);
        continue;
      }
      const first = ids.length;
      this.#model.encode(before.spell === undefined ? piece : before.spell(piece), ids);
      this.#memory.set(piece, () => ids.from(first));
    }
  }

  specialLengthAt(text: string, index: number): number {
    return this.#added.lengthAt(text, index);
  }

  streamEncoder(first: Place): StreamEncoder | undefined {
    const isPlain = this.#cutsAnywhere && this.#added.isPlain && this.#addedNormalized.isEmpty;
    const stream = isPlain ? this.#model.openStream?.() : undefined;
    if (stream === undefined) return undefined;
    let place = first;
    return {
      push: (text) => {
        const ids = new IdList();
        stream.push(this.#spelled(text, place), ids);
        place = "continues";
        return ids.from(0);
      },
      end: () => {
        const ids = new IdList();
        stream.end(ids);
        return ids.from(0);
      },
    };
  }

  /** Text as the model reads it, for tokenizers that leave it whole. */
  #spelled(text: string, place: Place): string {
    const normalized = this.#normalizer?.normalize(text, place === "continues") ?? text;
    const before = this.#preTokenizer;
    if (before === undefined) return normalized;
    const joined = before.split(normalized, place).list.join("");
    return before.spell === undefined ? joined : before.spell(joined);
  }

  decode(ids: Iterable<number>, options: DecodeOptions = {}): string {
    const kept: number[] = [];
    for (const id of ids) if (this.#isShown(id, options.skipSpecialTokens === true)) kept.push(id);
    if (kept.length === 0) return "";
    if (this.#bytesOfToken === undefined) return this.#decodeTokens(kept);
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(
      Buffer.concat(kept.map((id) => this.#bytesOf(id))),
    );
  }

  streamDecoder(options: StreamOptions = {}) {
    const skip = options.skipSpecialTokens === true;
    const inner =
      this.#bytesOfToken === undefined
        ? windowStreamDecoder(
            (ids) => (ids.length === 0 ? "" : this.#decodeTokens(ids)),
            this.#contextOf(options.context ?? [], skip),
          )
        : byteStreamDecoder((id) => this.#bytesOf(id));
    return {
      push: (id: number) => (this.#isShown(id, skip) ? inner.push(id) : ""),
      end: () => inner.end(),
    };
  }

  /** The last of the ids before a text, not beginning inside a character. */
  #contextOf(ids: readonly number[], skip: boolean): readonly number[] {
    const shown = ids.filter((id) => this.#isShown(id, skip));
    let start = Math.max(0, shown.length - CONTEXT_IDS);
    while (start > 0 && fallbackByte(this.#tokens[shown[start] ?? 0] ?? "") !== undefined) start--;
    return shown.slice(start);
  }

  tokenOf(id: number): string | undefined {
    return this.#tokens[id];
  }

  idOf(token: string): number | undefined {
    return this.#addedIds.get(token) ?? this.#vocab.get(token);
  }

  bytesOf(id: number): Uint8Array | undefined {
    const token = this.#tokens[id];
    if (token === undefined || this.#specialIds.has(id)) return undefined;
    if (this.#bytesOfToken !== undefined) return this.#bytesOf(id);
    const byte = this.#hasByteFallback ? fallbackByte(token) : undefined;
    if (byte !== undefined) return Uint8Array.of(byte);
    this.#neighbours ??= this.#plainIds(NEIGHBOURS);
    const added = this.#neighbours.map((neighbour) => {
      const alone = this.#decodeTokens([neighbour]);
      const both = this.#decodeTokens([neighbour, id]);
      return both.startsWith(alone) ? both.slice(alone.length) : undefined;
    });
    const [first] = added;
    const isAlike = first !== undefined && added.every((text) => text === first);
    return isAlike ? new TextEncoder().encode(first) : undefined;
  }

  /** The first ids that are letters alone, or the first ordinary ones. */
  #plainIds(count: number): readonly number[] {
    const ordinary: number[] = [];
    const letters: number[] = [];
    for (const [id, token] of this.#tokens.entries()) {
      if (token === undefined || this.#addedContents.has(token)) continue;
      if (fallbackByte(token) !== undefined) continue;
      if (/^\p{L}+$/u.test(token)) letters.push(id);
      else if (ordinary.length < count) ordinary.push(id);
      if (letters.length === count) break;
    }
    return [...letters, ...ordinary].slice(0, count);
  }

  canCutAt(text: string, index: number): boolean {
    if (!this.encodesInPieces) return false;
    if (index <= 0 || index >= text.length) return true;
    if (isLowSurrogate(text, index) || this.#added.isHurtByCut(text, index)) return false;
    if (this.#added.isPlain && this.#added.lengthAt(text, index) > 0) return true;
    if (!this.#cutsAnywhere && !isWordGap(text, index)) return false;
    let before = text.slice(Math.max(0, index - CHECKED_EACH_SIDE), index);
    if (isLowSurrogate(before, 0)) before = before.slice(1);
    let after = text.slice(index, index + CHECKED_EACH_SIDE);
    if (isLowSurrogate(text, index + CHECKED_EACH_SIDE)) after = after.slice(0, -1);
    const left = this.#normalizer?.normalize(before, true) ?? before;
    const right = this.#normalizer?.normalize(after, true) ?? after;
    if (!this.#addedNormalized.isEmpty) {
      // The beginning of a document may have something put before it.
      const begun = this.#normalizer?.normalize(before, false) ?? before;
      for (const side of [left, begun]) {
        if (this.#addedNormalized.isHurtByCut(side + right, side.length)) return false;
      }
    }
    if (this.#cutsAnywhere) return this.#modelCutsBetween(left, right);
    // The pattern is the file's own, so the gap is tried out on the text around it.
    const whole = this.#pieces(this.#normalizer?.normalize(before + after, true) ?? before + after);
    const apart = [...this.#pieces(left), ...this.#pieces(right)];
    return whole.length === apart.length && whole.every((piece, at) => piece === apart[at]);
  }

  #pieces(text: string): readonly string[] {
    return this.#preTokenizer?.split(text, "continues").list ?? [text];
  }

  #modelCutsBetween(left: string, right: string): boolean {
    const spell = (text: string): string => {
      const joined = this.#pieces(text).join("");
      return this.#preTokenizer?.spell?.(joined) ?? joined;
    };
    const before = spell(left);
    const after = spell(right);
    // Characters that a normalizer takes away show nothing of what will stand here.
    if (before === "" || after === "") return false;
    return this.#model.canCutAt?.(before + after, before.length) === true;
  }

  #isShown(id: number, skipSpecialTokens: boolean): boolean {
    this.#requireToken(id);
    return !skipSpecialTokens || !this.#specialIds.has(id);
  }

  #requireToken(id: number): void {
    if (this.#tokens[id] !== undefined) return;
    throw new TextError(
      "text.id",
      `token id ${id} is not in the vocabulary of ${this.vocabularySize} tokens`,
    );
  }

  #bytesOf(id: number): Uint8Array {
    const known = this.#bytes[id];
    if (known !== undefined) return known;
    const token = this.#tokens[id];
    const bytes =
      (token === undefined ? undefined : this.#bytesOfToken?.(token)) ?? new Uint8Array(0);
    this.#bytes[id] = bytes;
    return bytes;
  }

  /** Spaces before punctuation stay: decoding is the inverse of encoding, whatever clean_up_tokenization_spaces says. */
  #decodeTokens(ids: readonly number[]): string {
    const tokens = ids.map((id) => this.#tokens[id] ?? "");
    return this.#decoder === undefined ? tokens.join(" ") : this.#decoder(tokens).join("");
  }

  #spellingOf({ decoder }: TokenizerFrame): ((token: string) => Uint8Array) | undefined {
    const kind = decoder?.type;
    if (kind !== "ByteLevel" && kind !== "Fuse") return undefined;
    return (token) => {
      const isSpelt = kind === "ByteLevel" && !this.#addedContents.has(token);
      return (isSpelt ? bytesOfSpelling(token) : undefined) ?? new TextEncoder().encode(token);
    };
  }
}

/**
 * A tokenizer that runs a `tokenizer.json` with the meaning of Hugging Face's reference implementation.
 * Throws `TextError` `text.tokenizer.*` where the file uses a part that cannot be run so.
 */
export function runTokenizer(
  json: TokenizerJson,
  config: TokenizerConfigJson,
  where: string,
): Tokenizer {
  return setUp(where, () => {
    const vocab = vocabularyOf(json);
    return { frame: json, vocab, model: modelOf(json, vocab), source: { json, config } };
  });
}

/** What a tokenizer without a file is made of; `source` may be written when it is asked for. */
export interface ScoredTokenizerParts extends Pick<RunningParts, "frame" | "vocab" | "source"> {
  readonly merges: BpeMerges;
  readonly where: string;
}

/** As `runTokenizer` for a byte-pair encoding whose merges nobody has listed yet. */
export function runScoredTokenizer({ merges, where, ...parts }: ScoredTokenizerParts): Tokenizer {
  return setUp(where, () => ({
    ...parts,
    model: new BpeModel(parts.frame.model, parts.vocab, merges),
  }));
}

function setUp(where: string, parts: () => RunningParts): Tokenizer {
  try {
    return new RunningTokenizer(parts());
  } catch (error) {
    throw new TextError(
      error instanceof TextError ? error.code : "text.tokenizer.component",
      `${where}: the tokenizer cannot be set up: ${messageOf(error)}`,
      { cause: error },
    );
  }
}
