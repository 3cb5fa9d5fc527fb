import type { ModelConfig } from "../model/index.ts";

/**
 * What follows where a model's context is full. slide: the window of the last tokens is read again for every token, as
 * nanoGPT does. reread: the beginning and the last half of the context are read again, then tokens follow one by one.
 * stop: the text ends. auto: slide for learned positions, reread for rotary ones.
 */
export const CONTEXT_OVERFLOWS = ["auto", "slide", "reread", "stop"] as const;
/** What happens where a text reaches the end of the context. */
export type ContextOverflow = (typeof CONTEXT_OVERFLOWS)[number];

/** What a model does whose positions are learned, or not. */
export function overflowOf(
  asked: ContextOverflow,
  { family }: ModelConfig,
): Exclude<ContextOverflow, "auto"> {
  if (asked !== "auto") return asked;
  return family === "gpt2" ? "slide" : "reread";
}

/**
 * The tokens to read where `tokens` fill a context of `contextLength`. `start`: the tokens that a text begins with,
 * which a re-read window keeps.
 */
export function windowOf(
  tokens: readonly number[],
  start: readonly number[],
  contextLength: number,
  overflow: "slide" | "reread",
): readonly number[] {
  if (overflow === "slide") return tokens.slice(-contextLength);
  const kept = start.every((id, index) => tokens[index] === id) ? start : [];
  const half = Math.max(1, Math.floor(contextLength / 2) - kept.length);
  return [...kept, ...tokens.slice(-half)];
}
