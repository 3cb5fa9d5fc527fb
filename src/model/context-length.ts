import type { ModelConfig, RopeScaling } from "./config.ts";
import { decoderRopes } from "./decoder-config.ts";

/**
 * The longest sequence that a training step or a forward pass may have, in tokens: with dynamic rotary frequencies more
 * than the context that texts are written in.
 */
export function longestSequence(config: ModelConfig): number {
  if (config.family === "gpt2" || config.ropeScaling.kind !== "dynamic")
    return config.contextLength;
  const { factor, originalContextLength } = config.ropeScaling;
  return Math.max(config.contextLength, Math.floor(factor * originalContextLength));
}

/**
 * The longest text that is written with cached keys, in tokens. Dynamic rotary frequencies change the turns of all
 * positions where a text grows beyond the first context, those of the keys in the cache too: such a text ends there.
 */
export function cachedContextLength(config: ModelConfig): number {
  let length = config.contextLength;
  for (const scaling of ropeScalings(config))
    if (scaling.kind === "dynamic") length = Math.min(length, scaling.originalContextLength);
  return length;
}

/** Whether turns change with the length of a text. */
export function hasDynamicTurns(config: ModelConfig): boolean {
  return ropeScalings(config).some(({ kind }) => kind === "dynamic");
}

function ropeScalings(config: ModelConfig): readonly RopeScaling[] {
  if (config.family === "gpt2") return [];
  return decoderRopes(config).map(({ settings }) => settings.ropeScaling);
}

/** The end of a sentence about a text that is too long: why it ends before the model's context, or nothing. */
export function cachedContextReason(config: ModelConfig): string {
  return cachedContextLength(config) === config.contextLength
    ? ""
    : `; behind it (the configuration's context is ${config.contextLength}) dynamic rope scaling changes all turns, those of cached keys too`;
}
