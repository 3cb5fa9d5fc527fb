import { createHash } from "node:crypto";
import type { Collective } from "../../engine/collective.ts";
import type { LoadedPlan } from "../../engine/engine.ts";
import { TrainError } from "../errors.ts";

/** Words of a digest that are compared: 64 bits. */
const WORDS = 2;

/**
 * Compares the weights of all replicas by digests. Throws `TrainError` `train.replicas`, the same at every replica, that
 * names those which differ from the first one and the first weight in which they do.
 */
export async function compareWeights(
  loaded: LoadedPlan,
  weights: readonly string[],
  replicas: Collective,
  step: number,
): Promise<void> {
  if (replicas.size === 1) return;
  // One member's words stand together, so that each has its own part of them.
  const length = WORDS * weights.length;
  const all = new Int32Array(length * replicas.size);
  weights.forEach((name, index) => {
    all.set(digestOf(loaded, name), replicas.rank * length + WORDS * index);
  });
  await replicas.allGather([all]).wait();
  const problems = Array.from({ length: replicas.size }, (_, replica) => {
    const different = weights.filter((__, index) =>
      [0, 1].some((word) => {
        const at = WORDS * index + word;
        return all[replica * length + at] !== all[at];
      }),
    );
    const [first] = different;
    return first === undefined
      ? undefined
      : `replica ${replica} differs from replica 0 in ${different.length} of ${weights.length} weights, the first of them ${first}`;
  }).filter((problem) => problem !== undefined);
  if (problems.length === 0) return;
  throw new TrainError("train.replicas", `after step ${step}: ${problems.join("; ")}`, {
    remedy:
      "Replicas that drift apart have another engine, another library or broken memory. Go on from a checkpoint without that machine: --resume.",
  });
}

function digestOf(loaded: LoadedPlan, name: string): Int32Array {
  const view = loaded.view(name);
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  const digest = createHash("sha256").update(bytes).digest();
  return Int32Array.from({ length: WORDS }, (_, word) => digest.readInt32LE(4 * word));
}
