import { GPT2_SPLIT, spellBytes } from "../byte-level.ts";
import type { ComponentJson } from "../tokenizer-json.ts";
import type { Place } from "../tokenizer.ts";
import { characterField, countField, flagField, partsOf, refuseComponent } from "./component.ts";
import { behaviorOf, compilePattern, splitText } from "./patterns.ts";
import type { Pieces } from "./patterns.ts";

/** Cuts a text into pieces that the model encodes independently of each other. */
export interface PreTokenizer {
  readonly split: (text: string, place: Place) => Pieces;
  /** Spelling of a piece in the model's alphabet, where that is left to the end. */
  readonly spell: ((piece: string) => string) | undefined;
  /** Whether it leaves a text whole and changes each character without a look at the others. */
  readonly byCharacter: boolean;
}

const PART = "pre_tokenizer";
const PUNCTUATION = /[!-/:-@[-`{-~\p{P}]/gu;
const BLANK = /\p{White_Space}/gu;
const NUMERIC = /\p{N}/gu;
const WORD_CLASS = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}";
const WORDS = new RegExp(`[${WORD_CLASS}]+|[^${WORD_CLASS}\\p{White_Space}]+`, "gu");

type Split = PreTokenizer["split"];

/** One split after the other, each on every piece of the one before. */
function chain(splits: readonly Split[]): Split {
  return (text, place) => {
    let pieces: Pieces = { list: [text], atStart: true };
    for (const split of splits) {
      const list: string[] = [];
      let isFirstAtStart = false;
      pieces.list.forEach((piece, index) => {
        const isFirst = index === 0 && pieces.atStart;
        const parts = split(piece, isFirst ? place : "inside");
        if (isFirst) isFirstAtStart = parts.atStart;
        for (const part of parts.list) if (part !== "") list.push(part);
      });
      pieces = { list, atStart: isFirstAtStart };
    }
    return pieces;
  };
}

type PrependScheme = "always" | "first" | "never";

/** When Metaspace puts its sign before a text; older files say it with `add_prefix_space`. */
export function prependSchemeOf(part: string, component: ComponentJson): PrependScheme {
  const scheme = component["prepend_scheme"] ?? "always";
  if (scheme !== "always" && scheme !== "first" && scheme !== "never") {
    return refuseComponent(part, component, '"prepend_scheme" must be always, first or never');
  }
  if (component["add_prefix_space"] !== false) return scheme;
  if (component["prepend_scheme"] !== undefined && scheme !== "never") {
    return refuseComponent(part, component, '"add_prefix_space" contradicts "prepend_scheme"');
  }
  return "never";
}

function metaspace(component: ComponentJson): Split {
  const sign = characterField(PART, component, "replacement", "▁");
  const scheme = prependSchemeOf(PART, component);
  const splits = flagField(PART, component, "split", true);
  const pattern = new RegExp(sign.replace(/[.*+?^${}()|[\]\\/-]/g, "\\$&"), "gu");
  return (text, place) => {
    let signed = text.replaceAll(" ", () => sign);
    const isDue =
      (scheme === "always" && place !== "continues") || (scheme === "first" && place === "start");
    if (isDue && !signed.startsWith(sign)) signed = sign + signed;
    if (!splits) return { list: [signed], atStart: true };
    return { list: splitText(signed, pattern, "MergedWithNext").list, atStart: true };
  };
}

function fixedLength(component: ComponentJson): Split {
  const length = countField(PART, component, "length", 5);
  if (length === 0) return refuseComponent(PART, component, '"length" must be at least 1');
  return (text) => {
    const characters = Array.from(text);
    const list: string[] = [];
    for (let start = 0; start < characters.length; start += length)
      list.push(characters.slice(start, start + length).join(""));
    return { list, atStart: true };
  };
}

/** Splits of a component; a byte-level one is left to be spelt by whoever asks. */
function splitsOf(component: ComponentJson): readonly (Split | "spell")[] {
  switch (component.type) {
    case "Sequence":
      return partsOf(PART, component, "pretokenizers").flatMap(splitsOf);
    case "ByteLevel": {
      const addsSpace = flagField(PART, component, "add_prefix_space", true);
      const usesPattern = flagField(PART, component, "use_regex", true);
      const prefix: Split = (text, place) => ({
        list: [text.startsWith(" ") || place === "continues" ? text : ` ${text}`],
        atStart: true,
      });
      const words = (text: string) => splitText(text, GPT2_SPLIT, "Isolated");
      return [...(addsSpace ? [prefix] : []), ...(usesPattern ? [words] : []), "spell"];
    }
    case "Metaspace":
      return [metaspace(component)];
    case "Split": {
      const pattern = compilePattern(PART, component);
      const behavior = behaviorOf(PART, component);
      const invert = flagField(PART, component, "invert", false);
      return [(text: string) => splitText(text, pattern, behavior, invert)];
    }
    case "Punctuation": {
      const behavior = behaviorOf(PART, component, "Isolated");
      return [(text: string) => splitText(text, PUNCTUATION, behavior)];
    }
    case "Digits": {
      const isEach = flagField(PART, component, "individual_digits", false);
      return [(text: string) => splitText(text, NUMERIC, isEach ? "Isolated" : "Contiguous")];
    }
    case "Whitespace":
      return [(text: string) => splitText(text, WORDS, "Removed", true)];
    case "WhitespaceSplit":
      return [(text: string) => splitText(text, BLANK, "Removed")];
    case "BertPreTokenizer":
      return [
        (text: string) => splitText(text, BLANK, "Removed"),
        (text: string) => splitText(text, PUNCTUATION, "Isolated"),
      ];
    case "CharDelimiterSplit": {
      const delimiter = characterField(PART, component, "delimiter");
      const pattern = compilePattern(PART, { ...component, pattern: { String: delimiter } });
      return [(text: string) => splitText(text, pattern, "Removed")];
    }
    case "FixedLength":
      return [fixedLength(component)];
    default:
      return refuseComponent(PART, component, "there is no pre-tokenizer of this type");
  }
}

const spelling: Split = (text) => ({ list: [spellBytes(text)], atStart: true });

function isByCharacter(component: ComponentJson): boolean {
  switch (component.type) {
    case "Sequence":
      return partsOf(PART, component, "pretokenizers").every(isByCharacter);
    case "Metaspace":
      return component["split"] === false;
    case "ByteLevel":
      return component["use_regex"] === false;
    default:
      return false;
  }
}

/** A pre-tokenizer with the meaning of Hugging Face's reference implementation. Throws `TextError` for another type. */
export function compilePreTokenizer(component: ComponentJson): PreTokenizer {
  const found = splitsOf(component);
  const isSpeltLast = found.at(-1) === "spell";
  const splits = (isSpeltLast ? found.slice(0, -1) : found).map((split) =>
    split === "spell" ? spelling : split,
  );
  const [only, another] = splits;
  return {
    split: only !== undefined && another === undefined ? only : chain(splits),
    spell: isSpeltLast ? spellBytes : undefined,
    byCharacter: isByCharacter(component),
  };
}
