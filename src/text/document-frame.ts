import type { Tokenizer } from "./tokenizer.ts";

/**
 * Which tokens stand around documents in training. template: those of the tokenizer's post-processor. none: no begin
 * token, documents only end, as versions before 0.2 trained.
 */
export const BEGIN_TOKENS = ["template", "none"] as const;
/** What documents begin with: the template's tokens or nothing. */
export type BeginTokens = (typeof BEGIN_TOKENS)[number];

/** Ids around documents in a stream of tokens. */
export interface DocumentFrame {
  /** Before the first document of all. */
  readonly lead: readonly number[];
  readonly before: readonly number[];
  readonly after: readonly number[];
  /** Between two documents of a file. */
  readonly between: readonly number[];
  /** The token at which documents begin. */
  readonly mark: DocumentMark | undefined;
}

/** The token that stands between documents. */
export interface DocumentMark {
  readonly token: number;
  /** Whether it is the end of the document before it as well. */
  readonly isEnd: boolean;
}

const NOTHING = { lead: [], before: [], after: [], between: [] } as const;

function endMark(token: number | undefined): DocumentMark | undefined {
  return token === undefined ? undefined : { token, isEnd: true };
}

/**
 * Documents as a model is trained on them: each with what the template puts around it, and ended by the end-of-text
 * token. Where that is the template's begin token too, it stands once between two documents, and before the first one.
 */
export function trainingFrame(tokenizer: Tokenizer, begin: BeginTokens): DocumentFrame {
  const { endOfText } = tokenizer.special;
  const ends = endOfText === undefined ? [] : [endOfText];
  if (begin === "none") return { ...NOTHING, after: ends, mark: endMark(endOfText) };
  const { before, after } = tokenizer.template;
  const [first] = before;
  const isEnded = endOfText === undefined || after.at(-1) === endOfText;
  const whole = isEnded ? after : [...after, endOfText];
  if (first === undefined) return { ...NOTHING, after: whole, mark: endMark(whole.at(-1)) };
  const joins = before.length === 1 && first === endOfText && whole.length === 1;
  return joins
    ? { ...NOTHING, lead: before, after: whole, mark: endMark(first) }
    : { ...NOTHING, before, after: whole, mark: { token: first, isEnd: false } };
}

/**
 * Documents as a model from elsewhere is judged on them: with what the template says and nothing else. Only where it
 * says nothing, the end-of-text token joins two documents.
 */
export function judgingFrame(tokenizer: Tokenizer): DocumentFrame {
  const { before, after } = tokenizer.template;
  const { endOfText } = tokenizer.special;
  const [first] = before;
  if (first !== undefined)
    return { ...NOTHING, before, after, mark: { token: first, isEnd: false } };
  if (after.length > 0) return { ...NOTHING, after, mark: endMark(after.at(-1)) };
  return {
    ...NOTHING,
    between: endOfText === undefined ? [] : [endOfText],
    mark: endMark(endOfText),
  };
}

/** Where documents begin, as windows and evaluations ask for it. */
export interface DocumentMarks {
  /** Ends a document and begins the next one. */
  readonly endOfText?: number;
  /** Begins a document and ends none. */
  readonly beginOfText?: number;
}

/** The ids by which documents of this frame begin. */
export function marksOf({ mark }: DocumentFrame): DocumentMarks {
  if (mark === undefined) return {};
  return mark.isEnd ? { endOfText: mark.token } : { beginOfText: mark.token };
}

/** How the documents that a model was trained on began. */
export interface TrainedBeginnings {
  readonly beginTokens: BeginTokens;
  /** Whether windows began where documents begin. */
  readonly byDocument: boolean;
}

/**
 * Ids that a text to be continued begins with: the same that documents began with in training. `trained`: what is known
 * of that; a model from elsewhere begins with its template. An empty text begins with the begin token in any case.
 */
export function startTokens(
  tokenizer: Tokenizer,
  isEmpty: boolean,
  trained?: TrainedBeginnings,
): readonly number[] {
  const { beginOfText, endOfText } = tokenizer.special;
  const { before } = tokenizer.template;
  if (trained?.beginTokens !== "none" && before.length > 0) return before;
  // Windows that begin with documents begin with the end of the document before.
  if (trained?.byDocument === true && endOfText !== undefined) return [endOfText];
  const start = beginOfText ?? endOfText;
  return isEmpty && start !== undefined ? [start] : [];
}
