import type { Value } from "../mil/program.ts";
import type { RopeScaling } from "./config.ts";
import type { StageBuilder } from "./stage-builder.ts";

/** What the tables of rotary positions are made from. */
export interface RopeSettings {
  readonly headSize: number;
  readonly ropeTheta: number;
  readonly ropeScaling: RopeScaling;
}

/** Radians a position adds, for each pair of channels: [D/2]. */
export function ropeFrequencies(settings: RopeSettings): readonly number[] {
  const { headSize, ropeTheta, ropeScaling } = settings;
  return Array.from({ length: headSize / 2 }, (_, pair) =>
    scaleFrequency(ropeTheta ** ((-2 * pair) / headSize), ropeScaling),
  );
}

function scaleFrequency(frequency: number, scaling: RopeScaling): number {
  switch (scaling.kind) {
    case "none":
      return frequency;
    case "linear":
      return frequency / scaling.factor;
    case "llama3": {
      // Long waves are stretched by the factor, short ones kept, those between are blended.
      const waves = (scaling.originalContextLength * frequency) / (2 * Math.PI);
      const blend =
        (waves - scaling.lowFrequencyFactor) /
        (scaling.highFrequencyFactor - scaling.lowFrequencyFactor);
      const kept = Math.min(1, Math.max(0, blend));
      return kept * frequency + ((1 - kept) * frequency) / scaling.factor;
    }
  }
}

/** Cosines, and sines whose first half is negated, of consecutive positions: [rows, D] each. */
export interface RopeTables {
  readonly cosines: Float32Array;
  readonly signedSines: Float32Array;
}

/**
 * Tables for Hugging Face's convention, which pairs channel i with i + D/2.
 * `scale` multiplies both, so that a query's 1/sqrt(D) costs nothing.
 */
export function ropeTables(
  settings: RopeSettings,
  rowCount: number,
  firstPosition = 0,
  scale = 1,
): RopeTables {
  const frequencies = ropeFrequencies(settings);
  const half = frequencies.length;
  const cosines = new Float32Array(rowCount * 2 * half);
  const signedSines = new Float32Array(rowCount * 2 * half);
  for (let row = 0; row < rowCount; row++) {
    frequencies.forEach((frequency, pair) => {
      const angle = (firstPosition + row) * frequency;
      const at = row * 2 * half + pair;
      const cosine = Math.cos(angle) * scale;
      const sine = Math.sin(angle) * scale;
      cosines[at] = cosine;
      cosines[at + half] = cosine;
      signedSines[at] = -sine;
      signedSines[at + half] = sine;
    });
  }
  return { cosines, signedSines };
}

/** Turns the last axis of x [..., S, D] by tables [S, D]: x * cos + swapped halves * signed sin. */
export function rotate(
  stage: StageBuilder,
  x: Value,
  cosines: Value,
  signedSines: Value,
  name: string,
): Value {
  const axis = x.type.kind === "tensor" ? x.type.shape.length - 1 : 0;
  const [first, second] = stage.pair("split", { x, num_splits: 2, axis }, `${name}_half`);
  const swapped = stage.op("concat", { values: [second, first], axis }, `${name}_swapped`);
  return stage.op(
    "add",
    {
      x: stage.op("mul", { x, y: cosines }, `${name}_kept`),
      y: stage.op("mul", { x: swapped, y: signedSines }, `${name}_turned`),
    },
    name,
  );
}
