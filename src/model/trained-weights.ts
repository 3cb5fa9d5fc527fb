import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { z } from "zod";
import { writeWholeFile } from "../util/atomic-file.ts";
import { readJsonFile } from "./config-json.ts";
import { ModelError } from "./errors.ts";
import type { Origin, Parameters, Weight } from "./parameters.ts";
import { writeSafetensors } from "./safetensors.ts";
import { saveWeights, TRAINED_FILE, weightOutputs } from "./weight-files.ts";
import type { WeightView } from "./weight-memory.ts";

/** Beside `TRAINED_FILE`: where the frozen weights come from. */
const BASE_FILE = "base.json";
const BASE_BYTE_LIMIT = 64 << 20;

const baseSchema = z.object({
  version: z.literal(1),
  frozen: z.array(
    z.object({
      origin: z.discriminatedUnion("kind", [
        z.object({ kind: z.literal("drawn"), seed: z.number().int() }),
        z.object({ kind: z.literal("file"), folder: z.string() }),
      ]),
      weights: z.array(z.string()),
    }),
  ),
});

/**
 * Writes what training changes of a model: all weights in Hugging Face's layout, or, where some are frozen, the
 * trained ones and a note of where the others come from. Throws `ModelError` where a frozen weight stands in another
 * plan's memory only, so that nobody could find it again.
 */
export function saveTrainedWeights(
  folder: string,
  { weights }: Pick<Parameters, "weights">,
  viewOf: WeightView,
): void {
  const trained = weights.filter(({ trainable }) => trainable);
  if (trained.length === weights.length) {
    saveWeights(folder, { weights }, viewOf);
    return;
  }
  const base = { version: 1, frozen: frozenByOrigin(weights) };
  writeSafetensors(join(folder, TRAINED_FILE), weightOutputs(trained, viewOf, "F32"));
  writeWholeFile(join(folder, BASE_FILE), `${JSON.stringify(base, null, 2)}\n`);
}

function frozenByOrigin(
  weights: readonly Weight[],
): readonly { readonly origin: Origin; readonly weights: readonly string[] }[] {
  const groups = new Map<string, { readonly origin: Origin; readonly weights: string[] }>();
  for (const { name, trainable, origin } of weights) {
    if (trainable) continue;
    if (origin.kind === "shared") {
      throw new ModelError(
        "model.weights.origin",
        `the frozen weight "${name}" is shared with another plan: a checkpoint cannot say where it comes from`,
        { remedy: "Give the model's parameters the folder they were read from (withOrigin)." },
      );
    }
    const whole: Origin =
      origin.kind === "file" ? { ...origin, folder: resolve(origin.folder) } : origin;
    const key = JSON.stringify(whole);
    const group = groups.get(key) ?? { origin: whole, weights: [] };
    group.weights.push(name);
    groups.set(key, group);
  }
  return [...groups.values()];
}

/**
 * Where the weights that a folder lacks come from, by name; nothing for a folder that has all of them.
 * Throws `ModelError` for a note of another version or form.
 */
export function readBase(folder: string): ReadonlyMap<string, Origin> | undefined {
  const path = join(folder, BASE_FILE);
  if (!existsSync(path)) return undefined;
  const json = readJsonFile(path, BASE_BYTE_LIMIT);
  const parsed = baseSchema.safeParse(json);
  if (!parsed.success) {
    throw new ModelError("model.base", `${path}: ${z.prettifyError(parsed.error)}`, {
      remedy: "A newer Anecdote may have written it; use that one.",
    });
  }
  return new Map(
    parsed.data.frozen.flatMap(({ origin, weights }) =>
      weights.map((name) => [name, origin] as const),
    ),
  );
}
