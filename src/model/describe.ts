import { formatCount } from "../util/format.ts";
import type { Model } from "./model.ts";
import { parameterCount } from "./parameters.ts";
import { modelConfigJson } from "./config-json.ts";

/** A model's size and configuration, for programs. */
export function describedModel({ config, parameters }: Model): object {
  return { parameters: parameterCount(parameters.weights), config: modelConfigJson(config) };
}

/** A model's shape in one line: family, sizes, how many numbers are trained. */
export function describeModel({ config, parameters }: Model): string {
  const { family, layerCount, channelCount, headCount, keyValueHeadCount } = config;
  const heads =
    headCount === keyValueHeadCount
      ? `${headCount} heads`
      : `${headCount} heads, ${keyValueHeadCount} of keys and values`;
  return [
    family,
    `${layerCount} layers of ${channelCount} channels`,
    heads,
    `feed-forward ${config.feedForwardSize}`,
    `vocabulary ${config.vocabularySize}`,
    `context ${config.contextLength}`,
    `${formatCount(parameterCount(parameters.weights))} parameters`,
  ].join(", ");
}
