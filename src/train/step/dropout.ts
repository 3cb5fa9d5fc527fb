import type { LoadedPlan } from "../../engine/engine.ts";
import { Random } from "../../util/random.ts";
import { TrainError } from "../errors.ts";

/** Beginning of the names of buffers that hold dropout masks. */
export const DROPOUT_BUFFER = "dropout:";

/** How much is dropped, and by which draws. */
export interface Dropout {
  /** Share of the numbers that a correction does not see, below 1. */
  readonly share: number;
  readonly seed: number;
}

/** Of what masks are drawn. */
export interface MaskPlace {
  readonly step: number;
  /** Of the whole update, whoever computes it. */
  readonly microBatch: number;
  /** Where its rows are divided over processes: which part of them. */
  readonly part: number;
}

/** The masks of a plan. Throws `TrainError` for a plan with masks that nobody would fill. */
export function maskBuffers(loaded: LoadedPlan, dropout: Dropout | undefined): readonly string[] {
  const names = [...loaded.plan.buffers.keys()].filter((name) => name.startsWith(DROPOUT_BUFFER));
  if (names.length > 0 && dropout === undefined) {
    throw new TrainError("train.dropout", "the plan drops out, and nobody says how much");
  }
  return names;
}

/**
 * Draws the masks of a micro-batch: 0, or one over the share that is kept. What is drawn depends on the seed, the step, the
 * micro-batch and the mask alone, so that a run that goes on, or a step that is done again, draws the same.
 */
export function drawMasks(
  loaded: LoadedPlan,
  names: readonly string[],
  { share, seed }: Dropout,
  place: MaskPlace,
): void {
  const limit = Math.round(share * 2 ** 32);
  const kept = 1 / (1 - share);
  for (const name of names) {
    const random = new Random(seedOf(name, seed, place.step, place.microBatch));
    const mask = loaded.view(name);
    for (let left = place.part * mask.length; left > 0; left--) random.uint32();
    for (let i = 0; i < mask.length; i++) mask[i] = random.uint32() < limit ? 0 : kept;
  }
}

/** FNV-1a over the name and the numbers. */
function seedOf(name: string, ...numbers: readonly number[]): number {
  let hash = 0x811c9dc5;
  const text = `${name} ${numbers.join(" ")}`;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}
