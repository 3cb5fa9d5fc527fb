import { bytesOfSpelling } from "../byte-level.ts";
import type { ComponentJson } from "../tokenizer-json.ts";
import {
  characterField,
  countField,
  flagField,
  partsOf,
  refuseComponent,
  textField,
} from "./component.ts";
import { compilePattern } from "./patterns.ts";
import { prependSchemeOf } from "./pre-tokenizers.ts";

/** Tokens in, stretches of text out; joined they are the text. */
export type Decoder = (tokens: readonly string[]) => readonly string[];

const PART = "decoder";

/** As BERT's decoder tidies each token. */
function cleanUp(text: string): string {
  return text
    .replaceAll(" .", ".")
    .replaceAll(" ?", "?")
    .replaceAll(" !", "!")
    .replaceAll(" ,", ",")
    .replaceAll(" ' ", "'")
    .replaceAll(" n't", "n't")
    .replaceAll(" 'm", "'m")
    .replaceAll(" do not", " don't")
    .replaceAll(" 's", "'s")
    .replaceAll(" 've", "'ve")
    .replaceAll(" 're", "'re");
}

/** The byte of a token such as `<0x0A>`. */
export function fallbackByte(token: string): number | undefined {
  const [, digits] = /^<0x([0-9A-Fa-f]{2})>$/.exec(token) ?? [];
  return digits === undefined ? undefined : Number.parseInt(digits, 16);
}

function byteFallback(tokens: readonly string[]): readonly string[] {
  const texts: string[] = [];
  let bytes: number[] = [];
  const flush = (): void => {
    if (bytes.length === 0) return;
    try {
      texts.push(
        new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(bytes)),
      );
    } catch {
      texts.push(...bytes.map(() => "\uFFFD"));
    }
    bytes = [];
  };
  for (const token of tokens) {
    const byte = fallbackByte(token);
    if (byte !== undefined) bytes.push(byte);
    else {
      flush();
      texts.push(token);
    }
  }
  flush();
  return texts;
}

function stripDecoder(component: ComponentJson): Decoder {
  const content = characterField(PART, component, "content");
  const most = {
    start: countField(PART, component, "start", 0),
    stop: countField(PART, component, "stop", 0),
  };
  return (tokens) =>
    tokens.map((token) => {
      const characters = Array.from(token);
      let start = 0;
      while (start < most.start && characters[start] === content) start++;
      let end = characters.length;
      while (characters.length - end < most.stop && end > 0 && characters[end - 1] === content)
        end--;
      return characters.slice(start, Math.max(start, end)).join("");
    });
}

function metaspaceDecoder(component: ComponentJson): Decoder {
  const sign = characterField(PART, component, "replacement", "▁");
  const isPrepended = prependSchemeOf(PART, component) !== "never";
  return (tokens) =>
    tokens.map((token, index) =>
      token.replaceAll(sign, () => (index === 0 && isPrepended ? "" : " ")),
    );
}

function wordPieceDecoder(component: ComponentJson): Decoder {
  const prefix = textField(PART, component, "prefix", "##");
  const isTidied = flagField(PART, component, "cleanup", true);
  return (tokens) =>
    tokens.map((token, index) => {
      let text = token;
      if (index > 0) text = token.startsWith(prefix) ? token.slice(prefix.length) : ` ${token}`;
      return isTidied ? cleanUp(text) : text;
    });
}

function ctcDecoder(component: ComponentJson): Decoder {
  const padding = textField(PART, component, "pad_token", "<pad>");
  const delimiter = textField(PART, component, "word_delimiter_token", "|");
  const isTidied = flagField(PART, component, "cleanup", true);
  return (tokens) =>
    tokens
      .filter((token, index) => index === 0 || token !== tokens[index - 1])
      .map((token) => {
        const text = token.replaceAll(padding, "");
        return isTidied ? cleanUp(text).replaceAll(delimiter, " ") : text;
      })
      .filter((text) => text !== "");
}

/** A decoder with the meaning of Hugging Face's reference implementation. Throws `TextError` for another type. */
export function compileDecoder(component: ComponentJson): Decoder {
  switch (component.type) {
    case "Sequence": {
      const parts = partsOf(PART, component, "decoders").map(compileDecoder);
      return (tokens) => parts.reduce((result, part) => part(result), tokens);
    }
    case "ByteLevel":
      return (tokens) => [
        new TextDecoder("utf-8", { ignoreBOM: true }).decode(
          Buffer.concat(tokens.map((token) => bytesOfSpelling(token) ?? Buffer.from(token))),
        ),
      ];
    case "ByteFallback":
      return byteFallback;
    case "Fuse":
      return (tokens) => [tokens.join("")];
    case "Metaspace":
      return metaspaceDecoder(component);
    case "WordPiece":
      return wordPieceDecoder(component);
    case "BPEDecoder": {
      const suffix = textField(PART, component, "suffix", "</w>");
      return (tokens) =>
        tokens.map((token, index) =>
          token.replaceAll(suffix, () => (index === tokens.length - 1 ? "" : " ")),
        );
    }
    case "Replace": {
      const pattern = compilePattern(PART, component);
      const content = textField(PART, component, "content");
      return (tokens) => tokens.map((token) => token.replace(pattern, () => content));
    }
    case "Strip":
      return stripDecoder(component);
    case "CTC":
      return ctcDecoder(component);
    default:
      return refuseComponent(PART, component, "there is no decoder of this type");
  }
}
