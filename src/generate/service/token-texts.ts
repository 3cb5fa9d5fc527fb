import type { Tokenizer } from "../../text/index.ts";
import type { TokenScore } from "../token-scores.ts";
import type { TokenLogprob, TokenText } from "./messages.ts";

/** Tokens as clients see them. */
export class TokenTexts {
  readonly #tokenizer: Tokenizer;
  readonly #known = new Map<number, TokenText>();

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer;
  }

  of(id: number): TokenText {
    const known = this.#known.get(id);
    if (known !== undefined) return known;
    const bytes = this.#tokenizer.bytesOf(id);
    const token: TokenText = {
      text: bytes === undefined ? (this.#tokenizer.tokenOf(id) ?? "") : textOf(bytes),
      bytes: bytes === undefined ? null : Array.from(bytes),
    };
    this.#known.set(id, token);
    return token;
  }

  scored({ id, logprob }: TokenScore): TokenLogprob {
    return { ...this.of(id), logprob };
  }
}

/** Bytes as text; those of a part of a character as OpenAI writes them. */
function textOf(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return `bytes:${Array.from(bytes, (byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("")}`;
  }
}
