import { TextError } from "./errors.ts";
import { ScoredMerges } from "./pipeline/scored-merges.ts";
import { specialToken } from "./tokenizer-json.ts";
import type {
  AddedTokenJson,
  ComponentJson,
  TokenizerConfigJson,
  TokenizerFrame,
  TokenizerJson,
} from "./tokenizer-json.ts";
import { runScoredTokenizer } from "./tokenizer-runner.ts";
import type { DescribedTokenizer } from "./simple-tokenizers.ts";

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
 * The tokenizer of a vocabulary, and the `tokenizer.json` that says the same: merges rebuilt from scores, bytes for
 * characters that have no piece. The file is written when somebody asks for it: its merges take ten times as long as
 * a prompt. Throws `TextError` for a vocabulary without pieces.
 */
export function scoredTokenizer(
  scored: ScoredPieces,
  config: TokenizerConfigJson,
  where: string,
): DescribedTokenizer {
  const { pieces, kinds, scores } = scored;
  const vocab = new Map<string, number>();
  for (let id = 0; id < pieces.length; id++) {
    const piece = pieces[id];
    if (piece !== undefined && kinds[id] !== PIECE_KINDS.unused) vocab.set(piece, id);
  }
  if (vocab.size === 0) {
    throw new TextError("text.tokenizer.empty", `${where}: the vocabulary is empty`);
  }
  const isJoinable = (id: number): boolean =>
    kinds[id] === PIECE_KINDS.normal || kinds[id] === PIECE_KINDS.userDefined;
  const merges = new ScoredMerges({ pieces, scores, isJoinable, vocab });
  const frame = frameOf(scored);
  let written: TokenizerJson | undefined;
  const source = {
    get json(): TokenizerJson {
      written ??= {
        ...frame,
        model: {
          ...frame.model,
          vocab: Object.fromEntries(vocab),
          merges: spelled(merges.triples(), pieces),
        },
      };
      return written;
    },
    config,
  };
  const tokenizer = runScoredTokenizer({ frame, vocab, merges, source, where });
  return {
    tokenizer,
    get json(): TokenizerJson {
      return source.json;
    },
    config,
  };
}

/** Merges as pairs of their tokens. */
function spelled(
  triples: Int32Array,
  pieces: readonly string[],
): readonly (readonly [string, string])[] {
  const textOf = (index: number): string => pieces[triples[index] ?? 0] ?? "";
  return Array.from({ length: triples.length / 3 }, (_, rank) => [
    textOf(3 * rank),
    textOf(3 * rank + 1),
  ]);
}

/** What stands around vocabulary and merges. */
function frameOf({ pieces, kinds, addsSpace, ...scored }: ScoredPieces): TokenizerFrame {
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
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: addedPieces(pieces, kinds),
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
    },
  };
}

/** Control pieces are special; those of a user are found in text before it is split, unless they are spaces to join. */
function addedPieces(
  pieces: readonly string[],
  kinds: readonly number[],
): readonly AddedTokenJson[] {
  return pieces.flatMap((content, id) => {
    const kind = kinds[id];
    const special = kind === PIECE_KINDS.control || kind === PIECE_KINDS.unknown;
    const isFound = kind === PIECE_KINDS.userDefined && !content.includes(SPACE);
    if (content === "" || !(special || isFound)) return [];
    return [{ ...specialToken(id, content), special }];
  });
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
