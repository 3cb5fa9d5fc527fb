import { checkTokenizerJson } from "./tokenizer-json.ts";
import type { AddedTokenJson, ComponentJson, TokenizerJson } from "./tokenizer-json.ts";

/** What a piece is for, as SentencePiece and GGUF number them. */
export const PIECE_KINDS = {
  normal: 1,
  unknown: 2,
  control: 3,
  userDefined: 4,
  unused: 5,
  byte: 6,
} as const;

/** A vocabulary that joins the neighbours whose piece has the best score. */
export interface ScoredPieces {
  readonly pieces: readonly string[];
  readonly scores: readonly number[];
  /** By piece, one of `PIECE_KINDS`. */
  readonly kinds: readonly number[];
  /** A space is put before a text. */
  readonly addsSpace: boolean;
  /** Ids before and after a text. */
  readonly before: readonly number[];
  readonly after: readonly number[];
}

const SPACE = "▁";

/**
 * The vocabulary as a `tokenizer.json`: merges rebuilt from scores, bytes for characters that have no piece. Throws
 * `TextError` where pieces are missing or stand twice.
 */
export function sentencePieceJson(scored: ScoredPieces, where: string): TokenizerJson {
  const { pieces, kinds, addsSpace } = scored;
  const vocab = Object.fromEntries(
    pieces.flatMap((piece, id) => (kinds[id] === PIECE_KINDS.unused ? [] : [[piece, id] as const])),
  );
  const unknownId = kinds.indexOf(PIECE_KINDS.unknown);
  const isByteFallback = kinds.includes(PIECE_KINDS.byte);
  const replace = (from: string, to: string): ComponentJson => ({
    type: "Replace",
    pattern: { String: from },
    content: to,
  });
  const normalizers = [
    ...(addsSpace ? [{ type: "Prepend", prepend: SPACE }] : []),
    replace(" ", SPACE),
  ];
  const decoders = [
    replace(SPACE, " "),
    ...(isByteFallback ? [{ type: "ByteFallback" }] : []),
    { type: "Fuse" },
    ...(addsSpace ? [{ type: "Strip", content: " ", start: 1, stop: 0 }] : []),
  ];
  return checkTokenizerJson(
    {
      version: "1.0",
      added_tokens: addedPieces(scored),
      normalizer: { type: "Sequence", normalizers },
      pre_tokenizer: null,
      post_processor: framing(scored.before, scored.after, pieces),
      decoder: { type: "Sequence", decoders },
      model: {
        type: "BPE",
        dropout: null,
        unk_token: pieces[unknownId] ?? null,
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        fuse_unk: true,
        byte_fallback: isByteFallback,
        ignore_merges: false,
        vocab,
        merges: mergesOf(scored),
      },
    },
    where,
  );
}

/** Control pieces are special; those of a user are found in text before it is split, unless they are spaces to join. */
function addedPieces({ pieces, kinds }: ScoredPieces): readonly AddedTokenJson[] {
  return pieces.flatMap((content, id) => {
    const kind = kinds[id];
    const special = kind === PIECE_KINDS.control || kind === PIECE_KINDS.unknown;
    const isFound = kind === PIECE_KINDS.userDefined && !content.includes(SPACE);
    if (content === "" || !(special || isFound)) return [];
    const plain = { single_word: false, lstrip: false, rstrip: false, normalized: false };
    return [{ id, content, special, ...plain }];
  });
}

/** Every way to put a piece together from two others, by the piece's score. */
function mergesOf({ pieces, scores, kinds }: ScoredPieces): readonly (readonly [string, string])[] {
  const ids = new Map<string, number>();
  pieces.forEach((piece, id) => {
    const kind = kinds[id];
    if (kind === PIECE_KINDS.normal || kind === PIECE_KINDS.userDefined) ids.set(piece, id);
  });
  interface Merge {
    readonly left: string;
    readonly right: string;
    readonly score: number;
  }
  const merges: Merge[] = [];
  for (const [piece, id] of ids) {
    const ways: (Merge & { readonly order: number })[] = [];
    for (let cut = 1; cut < piece.length; cut++) {
      const left = piece.slice(0, cut);
      const right = piece.slice(cut);
      const [first, second] = [ids.get(left), ids.get(right)];
      if (first === undefined || second === undefined) continue;
      ways.push({ left, right, score: scores[id] ?? 0, order: first * pieces.length + second });
    }
    merges.push(...ways.toSorted((a, b) => a.order - b.order));
  }
  return merges
    .toSorted((a, b) => b.score - a.score)
    .map(({ left, right }) => [left, right] as const);
}

/** A post-processor that puts ids around a text. */
export function framing(
  before: readonly number[],
  after: readonly number[],
  tokens: readonly string[],
): ComponentJson | null {
  if (before.length + after.length === 0) return null;
  const tokenOf = (id: number): string => tokens[id] ?? "";
  const special = (id: number) => ({ SpecialToken: { id: tokenOf(id), type_id: 0 } });
  const text = { Sequence: { id: "A", type_id: 0 } };
  const single = [...before.map(special), text, ...after.map(special)];
  return {
    type: "TemplateProcessing",
    single,
    pair: [...single, { Sequence: { id: "B", type_id: 1 } }],
    special_tokens: Object.fromEntries(
      [...before, ...after].map((id) => [
        tokenOf(id),
        { id: tokenOf(id), ids: [id], tokens: [tokenOf(id)] },
      ]),
    ),
  };
}
