import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import * as z from "zod";
import { writeWholeFile } from "../util/atomic-file.ts";
import { FP32 } from "../plan/storage.ts";
import type { Storage } from "../plan/storage.ts";
import { adapterPart } from "./adapters/adapter.ts";
import { writeAdapter } from "./adapters/adapter-files.ts";
import { adapterMatrices } from "./adapters/adapter-weights.ts";
import { readJsonFile } from "./config-json.ts";
import { ModelError } from "./errors.ts";
import type { Origin, Parameters, Weight } from "./parameters.ts";
import { writeSafetensors } from "./safetensors.ts";
import { TRAINED_FILE } from "./safetensors-source.ts";
import { saveWeights, weightOutputs } from "./weight-files.ts";
import type { WeightView } from "./weight-memory.ts";

/** Beside `TRAINED_FILE`: where the frozen weights come from. */
const BASE_FILE = "base.json";
const BASE_BYTE_LIMIT = 64 << 20;

const storageSchema = z.union([
  z.object({ kind: z.enum(["fp32", "fp16", "bf16"]) }),
  z.object({
    kind: z.enum(["int4", "int8"]),
    groupSize: z.number().int(),
    scaleType: z.enum(["fp32", "fp16", "bf16"]),
    zeroPoint: z.number().int(),
    hasBiases: z.boolean(),
  }),
]);

/** Version 1 has no storage: all weights were fp32. */
const baseSchema = z.object({
  version: z.union([z.literal(1), z.literal(2)]),
  frozen: z.array(
    z.object({
      origin: z.discriminatedUnion("kind", [
        z.object({ kind: z.literal("drawn"), seed: z.number().int() }),
        z.object({ kind: z.literal("file"), folder: z.string() }),
      ]),
      weights: z.array(z.string()),
      storage: storageSchema.optional(),
    }),
  ),
});

/** Where a weight that a folder lacks comes from, and how it stood in memory while the others were trained. */
export interface BaseWeight {
  readonly origin: Origin;
  readonly storage: Storage;
}

/**
 * Writes what training changes of a model: all weights in Hugging Face's layout; or, where some are frozen, the trained
 * ones (an adapter in PEFT's layout) and a note of where the others come from. Throws `ModelError` where a frozen weight stands in another
 * plan's memory only, so that nobody could find it again.
 */
export function saveTrainedWeights(
  folder: string,
  parameters: Pick<Parameters, "weights" | "blocks" | "adapter">,
  viewOf: WeightView,
): void {
  const { weights, adapter } = parameters;
  const trained = weights.filter(({ trainable }) => trainable);
  if (trained.length === weights.length) {
    saveWeights(folder, { weights }, viewOf);
    return;
  }
  const others =
    adapter === undefined ? weights : weights.filter((weight) => adapterPart(weight) === undefined);
  const frozen = frozenByOrigin(others);
  const base = { version: frozen.some(({ storage }) => storage !== undefined) ? 2 : 1, frozen };
  if (adapter === undefined) {
    writeSafetensors(join(folder, TRAINED_FILE), weightOutputs(trained, viewOf, "F32"));
  } else {
    const origins = others.map(({ origin }) => origin);
    const file = origins.find((origin) => origin.kind === "file");
    writeAdapter(folder, {
      adapter,
      baseName: file && resolve(file.folder),
      layerCount: parameters.blocks.length,
      matrices: adapterMatrices(adapter, trained, viewOf),
    });
  }
  writeWholeFile(join(folder, BASE_FILE), `${JSON.stringify(base, null, 2)}\n`);
}

interface FrozenGroup {
  readonly origin: Origin;
  readonly weights: readonly string[];
  readonly storage?: Storage;
}

function frozenByOrigin(weights: readonly Weight[]): readonly FrozenGroup[] {
  const groups = new Map<string, FrozenGroup & { readonly weights: string[] }>();
  for (const { name, trainable, origin, storage } of weights) {
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
    const key = JSON.stringify([whole, storage]);
    const group = groups.get(key) ?? {
      origin: whole,
      weights: [],
      ...(storage.kind !== "fp32" && { storage }),
    };
    group.weights.push(name);
    groups.set(key, group);
  }
  return [...groups.values()];
}

/**
 * Where the weights that a folder lacks come from, by name; nothing for a folder that has all of them.
 * Throws `ModelError` for a note of another version or form.
 */
export function readBase(folder: string): ReadonlyMap<string, BaseWeight> | undefined {
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
    parsed.data.frozen.flatMap(({ origin, weights, storage = FP32 }) =>
      weights.map((name) => [name, { origin, storage }] as const),
    ),
  );
}
