import { TextError } from "./errors.ts";

/** Token ids that are read by position; where they are kept is not the reader's business. */
export interface TokenView {
  /** What the tokens are called in messages. */
  readonly name: string;
  readonly tokenCount: number;
  /**
   * Fills `target` with the ids from `position` on. Throws `TextError` `text.range` beyond the end and
   * `text.id` for an id that the vocabulary does not have.
   */
  read(position: number, target: Int32Array): void;
}

export function checkTokenRange(view: TokenView, position: number, count: number): void {
  if (!Number.isSafeInteger(position) || position < 0 || position + count > view.tokenCount) {
    throw new TextError(
      "text.range",
      `${view.name}: tokens ${position} to ${position + count} were asked for, there are ${view.tokenCount}`,
    );
  }
}

/** Tokens already in memory [n]. */
export function memoryTokens(
  ids: Uint16Array | Uint32Array | Int32Array,
  name = "memory",
): TokenView {
  const view: TokenView = {
    name,
    tokenCount: ids.length,
    read(position, target) {
      checkTokenRange(view, position, target.length);
      target.set(ids.subarray(position, position + target.length));
    },
  };
  return view;
}

/** Tokens `start` to `end` of another view. */
export function sliceTokens(
  whole: TokenView,
  start: number,
  end: number,
  name = whole.name,
): TokenView {
  checkTokenRange(whole, start, end - start);
  const view: TokenView = {
    name,
    tokenCount: end - start,
    read(position, target) {
      checkTokenRange(view, position, target.length);
      whole.read(start + position, target);
    },
  };
  return view;
}

/** Several views, one after the other. */
export function joinTokens(views: readonly TokenView[], name: string): TokenView {
  const [only, another] = views;
  if (only !== undefined && another === undefined) return only;
  const ends: number[] = [];
  let tokenCount = 0;
  for (const view of views) ends.push((tokenCount += view.tokenCount));
  const joined: TokenView = {
    name,
    tokenCount,
    read(position, target) {
      checkTokenRange(joined, position, target.length);
      let done = 0;
      for (let index = 0; done < target.length; index++) {
        const end = ends[index] ?? tokenCount;
        const part = views[index];
        if (part === undefined) break;
        const at = position + done;
        if (at >= end) continue;
        const count = Math.min(target.length - done, end - at);
        part.read(at - (end - part.tokenCount), target.subarray(done, done + count));
        done += count;
      }
    },
  };
  return joined;
}

const SCAN_TOKENS = 1 << 16;

/** All tokens of a view in blocks; the block is reused. */
export function* scanTokens(
  view: TokenView,
): Generator<{ readonly position: number; readonly ids: Int32Array }> {
  const block = new Int32Array(Math.min(SCAN_TOKENS, view.tokenCount));
  for (let position = 0; position < view.tokenCount; position += SCAN_TOKENS) {
    const ids = block.subarray(0, Math.min(SCAN_TOKENS, view.tokenCount - position));
    view.read(position, ids);
    yield { position, ids };
  }
}
