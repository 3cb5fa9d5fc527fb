import type { Value } from "../mil/program.ts";
import type { RopeScaling } from "./config.ts";
import type { StageBuilder } from "./stage-builder.ts";

/** What the tables of rotary positions are made from. */
export interface RopeSettings {
  readonly headSize: number;
  readonly ropeTheta: number;
  readonly ropeScaling: RopeScaling;
}

/** Rotary positions of some of a model's layers. `prefix`: begins the names of their inputs, where there are several. */
export interface NamedRope {
  readonly prefix: string;
  readonly settings: RopeSettings;
}

/**
 * Radians a position adds, for each pair of channels: [D/2]. `sequenceLength`: tokens of the whole sequence, or the
 * most that it may have within the first context; only dynamic scaling asks for it.
 */
export function ropeFrequencies(settings: RopeSettings, sequenceLength: number): readonly number[] {
  const { headSize, ropeTheta, ropeScaling } = settings;
  const theta = thetaAt(settings, sequenceLength);
  return Array.from({ length: headSize / 2 }, (_, pair) =>
    scaleFrequency(theta ** ((-2 * pair) / headSize), pair, { headSize, ropeTheta, ropeScaling }),
  );
}

/** NTK-aware scaling: the base grows with what a sequence has beyond the original context. */
function thetaAt({ headSize, ropeTheta, ropeScaling }: RopeSettings, length: number): number {
  if (ropeScaling.kind !== "dynamic") return ropeTheta;
  const { factor, originalContextLength: original } = ropeScaling;
  if (length <= original) return ropeTheta;
  return ropeTheta * ((factor * length) / original - (factor - 1)) ** (headSize / (headSize - 2));
}

function scaleFrequency(
  frequency: number,
  pair: number,
  { headSize, ropeTheta, ropeScaling: scaling }: RopeSettings,
): number {
  switch (scaling.kind) {
    case "none":
    case "dynamic":
      return frequency;
    case "linear":
      return frequency / scaling.factor;
    case "divided":
      return frequency / (scaling.divisors[pair] ?? 1);
    case "llama3": {
      // Long waves are stretched by the factor, short ones kept, those between are blended.
      const waves = (scaling.originalContextLength * frequency) / (2 * Math.PI);
      const blend =
        (waves - scaling.lowFrequencyFactor) /
        (scaling.highFrequencyFactor - scaling.lowFrequencyFactor);
      const kept = Math.min(1, Math.max(0, blend));
      return kept * frequency + ((1 - kept) * frequency) / scaling.factor;
    }
    case "yarn": {
      // The channel at which a wave makes so many turns within the original context.
      const channelOf = (turns: number): number =>
        (headSize * Math.log(scaling.originalContextLength / (turns * 2 * Math.PI))) /
        (2 * Math.log(ropeTheta));
      const whole = scaling.isTruncated;
      const first = channelOf(scaling.betaFast);
      const last = channelOf(scaling.betaSlow);
      const low = Math.max(whole ? Math.floor(first) : first, 0);
      const high = Math.min(whole ? Math.ceil(last) : last, headSize - 1);
      const width = high === low ? 0.001 : high - low;
      const stretched = Math.min(1, Math.max(0, (pair - low) / width));
      return (1 - stretched) * frequency + (stretched * frequency) / scaling.factor;
    }
  }
}

/** Cosines, and sines whose first half is negated, of consecutive positions: [rows, D] each. */
export interface RopeTables {
  readonly cosines: Float32Array;
  readonly signedSines: Float32Array;
}

/** What of a sequence the tables are for. */
export interface RopeRows {
  readonly rowCount: number;
  /** Default 0. */
  readonly firstPosition?: number;
  /** As `ropeFrequencies` takes it. */
  readonly sequenceLength: number;
  /** Multiplies both tables, so that a query's 1/sqrt(D) costs nothing. Default 1. */
  readonly scale?: number;
}

/** Tables for Hugging Face's convention, which pairs channel i with i + D/2. */
export function ropeTables(settings: RopeSettings, rows: RopeRows): RopeTables {
  const { rowCount, firstPosition = 0, sequenceLength, scale = 1 } = rows;
  const frequencies = ropeFrequencies(settings, sequenceLength);
  const { ropeScaling } = settings;
  const factor = "attentionFactor" in ropeScaling ? scale * ropeScaling.attentionFactor : scale;
  const half = frequencies.length;
  const cosines = new Float32Array(rowCount * 2 * half);
  const signedSines = new Float32Array(rowCount * 2 * half);
  for (let row = 0; row < rowCount; row++) {
    frequencies.forEach((frequency, pair) => {
      const angle = (firstPosition + row) * frequency;
      const at = row * 2 * half + pair;
      const cosine = Math.cos(angle) * factor;
      const sine = Math.sin(angle) * factor;
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
