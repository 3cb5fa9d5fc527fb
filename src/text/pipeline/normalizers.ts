import { BYTE_ALPHABET } from "../byte-level.ts";
import type { ComponentJson } from "../tokenizer-json.ts";
import { flagField, partsOf, refuseComponent, textField } from "./component.ts";
import { compilePattern, literalPattern } from "./patterns.ts";
import { precompiledNormalizer } from "./precompiled.ts";

/** Changes a text before it is split. */
export interface Normalizer {
  /** `continues`: the text goes on from one before it, so nothing is put before it. */
  readonly normalize: (text: string, continues: boolean) => string;
  /** Whether a text is normalized character by character, each without a look at the others. */
  readonly byCharacter: boolean;
  /** Whether it takes white space off the ends of a text, so that a text may not be cut. */
  readonly stripsEnds: boolean;
}

const PART = "normalizer";

function plain(normalize: (text: string) => string, byCharacter = false): Normalizer {
  return { normalize, byCharacter, stripsEnds: false };
}

const CHINESE =
  /[\u4E00-\u9FFF\u3400-\u4DBF\u{20000}-\u{2A6DF}\u{2A700}-\u{2B73F}\u{2B740}-\u{2B81F}\u{2B920}-\u{2CEAF}\uF900-\uFAFF\u{2F800}-\u{2FA1F}]/gu;

/** Each character by itself: a sigma at the end of a word stays the usual one, as in the reference. */
function lowercase(text: string): string {
  let lowered = "";
  for (const character of text) lowered += character.toLowerCase();
  return lowered;
}

function bertNormalizer(component: ComponentJson): Normalizer {
  const cleansText = flagField(PART, component, "clean_text", true);
  const padsChinese = flagField(PART, component, "handle_chinese_chars", true);
  const lowers = flagField(PART, component, "lowercase", true);
  const stripsAccents = flagField(PART, component, "strip_accents", lowers);
  return plain((text) => {
    let result = text;
    if (cleansText) {
      result = result.replace(/\uFFFD|(?![\t\n\r])\p{C}/gu, "").replace(/\p{White_Space}/gu, " ");
    }
    if (padsChinese) result = result.replace(CHINESE, (character) => ` ${character} `);
    if (stripsAccents) result = result.normalize("NFD").replace(/\p{Mn}/gu, "");
    return lowers ? lowercase(result) : result;
  });
}

function replaceNormalizer(component: ComponentJson): Normalizer {
  const pattern = compilePattern(PART, component);
  const content = textField(PART, component, "content");
  const literal = literalPattern(component);
  const replace =
    literal === undefined
      ? (text: string) => text.replace(pattern, () => content)
      : (text: string) => text.replaceAll(literal, () => content);
  return plain(replace, literal !== undefined && Array.from(literal).length === 1);
}

function classOf(ranges: readonly (readonly [number, number])[]): RegExp {
  const spelled = ranges.map(
    ([first, last]) => `\\u{${first.toString(16)}}-\\u{${last.toString(16)}}`,
  );
  return new RegExp(`[${spelled.join("")}]`, "gu");
}

/** Control characters that sentencepiece's nmt rules drop, and what they make a space. */
const NMT_REMOVED = classOf([
  [0x01, 0x08],
  [0x0b, 0x0b],
  [0x0e, 0x1f],
  [0x7f, 0x7f],
  [0x8f, 0x8f],
  [0x9f, 0x9f],
]);
const NMT_SPACES = classOf([
  [0x09, 0x0a],
  [0x0c, 0x0d],
  [0x1680, 0x1680],
  [0x200b, 0x200f],
  [0x2028, 0x2029],
  [0x2581, 0x2581],
  [0xfeff, 0xfeff],
  [0xfffd, 0xfffd],
]);

/** A normalizer with the meaning of Hugging Face's reference implementation. Throws `TextError` for another type. */
export function compileNormalizer(component: ComponentJson): Normalizer {
  switch (component.type) {
    case "Sequence": {
      const parts = partsOf(PART, component, "normalizers").map(compileNormalizer);
      return {
        normalize: (text, continues) =>
          parts.reduce((result, part) => part.normalize(result, continues), text),
        byCharacter: parts.every((part) => part.byCharacter),
        stripsEnds: parts.some((part) => part.stripsEnds),
      };
    }
    case "NFC":
    case "NFD":
    case "NFKC":
    case "NFKD": {
      const form = component.type;
      return plain((text) => text.normalize(form));
    }
    case "Lowercase":
      return plain(lowercase, true);
    case "StripAccents":
      return plain((text) => text.replace(/\p{M}/gu, ""), true);
    case "Nmt":
      return plain((text) => text.replace(NMT_REMOVED, "").replace(NMT_SPACES, " "), true);
    case "Strip": {
      const left = flagField(PART, component, "strip_left", true);
      const right = flagField(PART, component, "strip_right", true);
      const normalize = (text: string): string => {
        const begun = left ? text.replace(/^\p{White_Space}+/u, "") : text;
        return right ? begun.replace(/\p{White_Space}+$/u, "") : begun;
      };
      return { normalize, byCharacter: false, stripsEnds: left || right };
    }
    case "Prepend": {
      const prepend = textField(PART, component, "prepend");
      return {
        normalize: (text, continues) => (continues || text === "" ? text : prepend + text),
        byCharacter: true,
        stripsEnds: false,
      };
    }
    case "Replace":
      return replaceNormalizer(component);
    case "BertNormalizer":
      return bertNormalizer(component);
    case "Precompiled":
      return plain(precompiledNormalizer(component));
    case "ByteLevel":
      return plain((text) =>
        Array.from(Buffer.from(text), (byte) => BYTE_ALPHABET[byte] ?? "").join(""),
      );
    default:
      return refuseComponent(PART, component, "there is no normalizer of this type");
  }
}
