import * as z from "zod";
import type { RopeScaling } from "./config.ts";
import { ModelError } from "./errors.ts";

const positive = z.number().positive();

const fields = {
  rope_type: z.string().nullish(),
  type: z.string().nullish(),
  rope_theta: positive.nullish(),
  factor: positive.nullish(),
  low_freq_factor: positive.nullish(),
  high_freq_factor: positive.nullish(),
  original_max_position_embeddings: z.int().positive().nullish(),
  beta_fast: positive.nullish(),
  beta_slow: positive.nullish(),
  attention_factor: positive.nullish(),
  mscale: z.number().nonnegative().nullish(),
  mscale_all_dim: z.number().nonnegative().nullish(),
  truncate: z.boolean().nullish(),
  partial_rotary_factor: positive.nullish(),
  short_factor: z
    .array(positive)
    .max(1 << 16)
    .nullish(),
  long_factor: z
    .array(positive)
    .max(1 << 16)
    .nullish(),
};

/** `rope_scaling` and `rope_parameters` of a `config.json`. */
export const ropeSchema = z.looseObject(fields);
export type RopeJson = z.infer<typeof ropeSchema>;

/** `rope_parameters` by the kind of layer, as Gemma 3's are in newer files. */
export const ropeByLayerSchema = z.looseObject({
  ...fields,
  full_attention: ropeSchema.nullish(),
  sliding_attention: ropeSchema.nullish(),
});

const SCALINGS = ["default", "linear", "dynamic", "llama3", "yarn"] as const;

/**
 * The scaling that a configuration asks for. Throws `ModelError` for one that is not known, that lacks a number, or
 * whose numbers cannot be.
 */
export function ropeScalingOf(
  json: RopeJson | null | undefined,
  contextLength: number,
  where: string,
): RopeScaling {
  const kind = json?.rope_type ?? json?.type ?? "default";
  const refuse = (problem: string, remedy?: string): never => {
    throw new ModelError("model.config.rope", `${where}: ${problem}`, {
      ...(remedy !== undefined && { remedy }),
    });
  };
  const needed = (name: "factor" | "low_freq_factor" | "high_freq_factor"): number =>
    json?.[name] ?? refuse(`rope scaling "${kind}" needs "${name}"`);
  const original = json?.original_max_position_embeddings;
  const rotated = json?.partial_rotary_factor ?? 1;
  if (rotated !== 1) refuse(`only part of a head is rotated (${rotated}), which is not supported`);
  switch (kind) {
    case "default":
      return { kind: "none" };
    case "linear":
      return { kind: "linear", factor: needed("factor") };
    case "longrope": {
      const { short_factor: divisors, long_factor: long } = json ?? {};
      const isOne = long?.every((divisor, pair) => divisor === divisors?.[pair]) === true;
      const attention = json?.attention_factor;
      if (!divisors || !isOne || divisors.length !== long.length || typeof attention !== "number") {
        return refuse(
          'rope scaling "longrope" is supported where short_factor and long_factor are equal and attention_factor is given',
          "Take a model of another kind: these frequencies differ with the length of the text.",
        );
      }
      return { kind: "divided", divisors, attentionFactor: attention };
    }
    case "dynamic":
      return {
        kind: "dynamic",
        factor: needed("factor"),
        originalContextLength: original ?? contextLength,
      };
    case "llama3": {
      const scaling = {
        kind: "llama3",
        factor: needed("factor"),
        lowFrequencyFactor: needed("low_freq_factor"),
        highFrequencyFactor: needed("high_freq_factor"),
        originalContextLength: original ?? contextLength,
      } as const;
      if (scaling.highFrequencyFactor <= scaling.lowFrequencyFactor) {
        refuse(
          `high_freq_factor ${scaling.highFrequencyFactor} must be above low_freq_factor ${scaling.lowFrequencyFactor}`,
        );
      }
      return scaling;
    }
    case "yarn": {
      const originalContextLength = original ?? contextLength;
      const factor = json?.factor ?? contextLength / originalContextLength;
      const betaFast = json?.beta_fast ?? 32;
      const betaSlow = json?.beta_slow ?? 1;
      if (betaFast < betaSlow)
        refuse(`beta_fast ${betaFast} must not be below beta_slow ${betaSlow}`);
      return {
        kind: "yarn",
        factor,
        originalContextLength,
        betaFast,
        betaSlow,
        isTruncated: json?.truncate ?? true,
        attentionFactor: json?.attention_factor ?? attentionFactor(factor, json),
      };
    }
    default:
      return refuse(
        `rope scaling "${kind}" is not supported; supported are ${SCALINGS.slice(0, -1).join(", ")} and ${SCALINGS.at(-1)}`,
        "Remove rope_scaling from config.json to use the model within its original context.",
      );
  }
}

/** The factor on cosines and sines where the configuration leaves it to the scaling. */
function attentionFactor(factor: number, json: RopeJson | null | undefined): number {
  const of = (scale: number): number => (factor <= 1 ? 1 : 0.1 * scale * Math.log(factor) + 1);
  const { mscale, mscale_all_dim: ofAll } = json ?? {};
  const isGiven = (value: number | null | undefined): value is number =>
    typeof value === "number" && value > 0;
  return isGiven(mscale) && isGiven(ofAll) ? of(mscale) / of(ofAll) : of(1);
}

/** `rope_scaling` as it is written back. */
export function ropeJson(scaling: RopeScaling): Record<string, unknown> | null {
  switch (scaling.kind) {
    case "none":
      return null;
    case "linear":
      return { rope_type: "linear", factor: scaling.factor };
    case "divided":
      return {
        rope_type: "longrope",
        short_factor: scaling.divisors,
        long_factor: scaling.divisors,
        attention_factor: scaling.attentionFactor,
      };
    case "dynamic":
      return {
        rope_type: "dynamic",
        factor: scaling.factor,
        original_max_position_embeddings: scaling.originalContextLength,
      };
    case "llama3":
      return {
        rope_type: "llama3",
        factor: scaling.factor,
        low_freq_factor: scaling.lowFrequencyFactor,
        high_freq_factor: scaling.highFrequencyFactor,
        original_max_position_embeddings: scaling.originalContextLength,
      };
    case "yarn":
      return {
        rope_type: "yarn",
        factor: scaling.factor,
        original_max_position_embeddings: scaling.originalContextLength,
        beta_fast: scaling.betaFast,
        beta_slow: scaling.betaSlow,
        truncate: scaling.isTruncated,
        attention_factor: scaling.attentionFactor,
      };
  }
}
