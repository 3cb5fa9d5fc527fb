import type { AddedTokenJson } from "../tokenizer-json.ts";
import { UnitTrie } from "./unit-trie.ts";

/** A stretch of text, or the id of an added token that stood there. */
export type Section = { readonly text: string; readonly start: number } | { readonly id: number };

const WORD_CHARACTER = "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}]";
const ENDS_WITH_WORD = new RegExp(`${WORD_CHARACTER}$`, "u");
const STARTS_WITH_WORD = new RegExp(`^${WORD_CHARACTER}`, "u");
const BLANK = /\p{White_Space}/u;

/** Finds added tokens in text: the leftmost, and of those the longest. */
export class AddedTokens {
  readonly #tokens: readonly AddedTokenJson[];
  readonly #trie = new UnitTrie();
  /** Whether a token takes white space around it along. */
  readonly strips: boolean;
  /** Whether a token is found wherever it is spelt, whatever stands around it. */
  readonly isPlain: boolean;

  /** `spell`: how a token stands in the text that is searched. */
  constructor(tokens: readonly AddedTokenJson[], spell: (content: string) => string) {
    this.#tokens = tokens;
    tokens.forEach(({ content }, index) => {
      const spelled = spell(content);
      if (spelled !== "") this.#trie.add(spelled, index);
    });
    this.strips = tokens.some(({ lstrip, rstrip }) => lstrip || rstrip);
    this.isPlain = !this.strips && !tokens.some((token) => token.single_word);
  }

  get isEmpty(): boolean {
    return this.#trie.longest === 0;
  }

  split(text: string): readonly Section[] {
    if (this.isEmpty || text === "") return text === "" ? [] : [{ text, start: 0 }];
    const sections: Section[] = [];
    let done = 0;
    for (let at = 0; at < text.length;) {
      const match = this.#trie.canBegin(text.charCodeAt(at))
        ? this.#trie.longestAt(text, at)
        : undefined;
      const token = match && this.#tokens[match.value];
      if (match === undefined || token === undefined) {
        at++;
        continue;
      }
      let [start, end] = [at, match.end];
      at = end;
      if (token.single_word && isInsideWord(text, start, end)) continue;
      if (token.lstrip) start = Math.max(done, blanksBefore(text, start));
      if (token.rstrip) end = blanksAfter(text, end);
      if (done < start) sections.push({ text: text.slice(done, start), start: done });
      sections.push({ id: token.id });
      done = end;
    }
    if (done < text.length) sections.push({ text: text.slice(done), start: done });
    return sections;
  }

  /** Length of the longest token that begins at `index`, 0 where none does. */
  lengthAt(text: string, index: number): number {
    const found = this.#trie.longestAt(text, index);
    return found === undefined ? 0 : found.end - index;
  }

  /**
   * Whether a token may stand across `index` or end there (the text behind it begins a section of its own), or would
   * take or lose white space if the text were cut there.
   */
  isHurtByCut(text: string, index: number): boolean {
    if (this.isEmpty) return false;
    const reach = this.#trie.longest;
    for (let at = Math.max(0, index - reach); at < index; at++) {
      if (!this.#trie.canBegin(text.charCodeAt(at))) continue;
      let reaches = false;
      this.#trie.each(text, at, (end) => (reaches ||= end >= index));
      if (reaches) return true;
    }
    if (!this.strips) return false;
    // White space next to the cut may belong to a token further on: such cuts are left alone.
    return this.#isTokenBefore(text, index) || this.#isTokenAfter(text, index);
  }

  #isTokenBefore(text: string, index: number): boolean {
    const end = blanksBefore(text, index);
    for (let at = Math.max(0, end - this.#trie.longest); at < end; at++) {
      let isThere = false;
      this.#trie.each(text, at, (found) => (isThere ||= found === end));
      if (isThere) return true;
    }
    return false;
  }

  #isTokenAfter(text: string, index: number): boolean {
    const start = blanksAfter(text, index);
    return this.#trie.longestAt(text, start) !== undefined;
  }
}

function isInsideWord(text: string, start: number, end: number): boolean {
  return (
    ENDS_WITH_WORD.test(text.slice(Math.max(0, start - 2), start)) ||
    STARTS_WITH_WORD.test(text.slice(end, end + 2))
  );
}

function blanksBefore(text: string, index: number): number {
  let start = index;
  while (start > 0 && BLANK.test(text.charAt(start - 1))) start--;
  return start;
}

function blanksAfter(text: string, index: number): number {
  let end = index;
  while (end < text.length && BLANK.test(text.charAt(end))) end++;
  return end;
}
