import type { StreamDecoder } from "./tokenizer.ts";

/** Decodes ids whose bytes are known one by one: the UTF-8 decoder keeps an unfinished character back. */
export function byteStreamDecoder(bytesOf: (id: number) => Uint8Array): StreamDecoder {
  let decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  return {
    push: (id) => decoder.decode(bytesOf(id), { stream: true }),
    end() {
      const rest = decoder.decode();
      decoder = new TextDecoder("utf-8", { ignoreBOM: true });
      return rest;
    },
  };
}

/** After this many ids without a whole character, broken bytes are given out as they are. */
const LONGEST_UNFINISHED = 16;

/**
 * Decodes through a function that needs the neighbours of an id (prefix spaces, byte fallback).
 * Text is given out as the difference between decoding a short window with and without the new ids. `context`: ids
 * before the first one, whose text is not given out.
 */
export function windowStreamDecoder(
  decode: (ids: readonly number[]) => string,
  context: readonly number[] = [],
): StreamDecoder {
  let ids = [...context];
  let contextLength = ids.length;
  let given = decode(ids);
  const emit = (text: string): string => {
    // Keep the ids of this step as context for the next one and forget the ones before them.
    ids = ids.slice(contextLength);
    contextLength = ids.length;
    const fresh = text.slice(given.length);
    given = decode(ids);
    return fresh;
  };
  return {
    push(id) {
      ids.push(id);
      const text = decode(ids);
      const unfinished = text.endsWith("\uFFFD") && ids.length - contextLength < LONGEST_UNFINISHED;
      return unfinished || text.length <= given.length ? "" : emit(text);
    },
    end() {
      const rest = ids.length === 0 ? "" : decode(ids).slice(given.length);
      ids = [];
      contextLength = 0;
      given = "";
      return rest;
    },
  };
}
