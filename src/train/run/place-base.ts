import type { Engine } from "../../engine/engine.ts";
import { formatBytes } from "../../util/format.ts";
import { memoryFit } from "../costs/memory-fit.ts";
import type { PlanSettings } from "../config/part-settings.ts";
import { TrainError } from "../errors.ts";
import { hasQuantizedBase } from "../config/method-options.ts";
import { isOnNeuralEngine } from "./frozen-base.ts";
import { plannedTraining } from "./planned-model.ts";
import { machineMemory } from "./start.ts";

/**
 * The settings with the place of a frozen base decided: its file where it is asked for, or where the machine's memory does
 * not hold it and the file can stand in for it. `note` hears why. Throws `TrainError` for a file in a group of processes,
 * and on engines that do not read one.
 */
export function placeBase<Settings extends PlanSettings>(
  config: Settings,
  isInGroup: boolean,
  engine: Engine,
  note: (text: string) => void,
): Settings {
  const { base_weights: wanted, method, model: path } = config;
  if (method === "full") return config;
  if (wanted === "constants") {
    requireConstants(config, isInGroup, engine);
    return config;
  }
  const canRead = engine.description.name === "cpu" && !isInGroup;
  if (wanted === "file") {
    if (canRead) return config;
    throw new TrainError(
      "train.base_weights",
      `a base stays in its file on --engine cpu and one process; here it is ${isInGroup ? "several processes" : engine.description.name}`,
      { remedy: "Leave --base-weights out." },
    );
  }
  if (wanted === "memory") return config;
  const inMemory = { ...config, base_weights: "memory" as const };
  const inFile = { ...config, base_weights: "file" as const };
  const isLora = method !== "dora" && (method !== "dpo" || config.dpo_adapter === "lora");
  if (!canRead || path === undefined || !isLora) return inMemory;
  const memory = machineMemory();
  const fit = memoryFit(config, plannedTraining(inMemory), memory);
  if (fit.fits) return inMemory;
  note(
    `with the base in memory a step takes about ${formatBytes(fit.asked.residentByteLength)}, and this machine has ${formatBytes(memory)}: the base's matrices stay in their file and are read before each use (--base-weights memory says otherwise)`,
  );
  return inFile;
}

/** Throws `TrainError` for nonlinear ops on the host of an engine that is the host itself. */
export function requirePlacement(
  { placement }: Pick<PlanSettings, "placement">,
  { description: { name } }: Engine,
): void {
  if (placement === "engine" || isOnNeuralEngine(name)) return;
  throw new TrainError(
    "train.placement",
    `--placement ${placement} divides a step between a Neural Engine and its host, and this run has the engine ${name}`,
    { remedy: "Leave --placement out, or take --engine sim:m4 or ane." },
  );
}

/** Throws `TrainError` where there are no programs that constants could stand in, or where they would be unpacked. */
function requireConstants(config: PlanSettings, isInGroup: boolean, engine: Engine): void {
  const { name } = engine.description;
  const reason = !isOnNeuralEngine(name)
    ? `programs with weights as constants are a Neural Engine's, and this is ${name}`
    : isInGroup
      ? "several processes train here, and each has programs of its own"
      : hasQuantizedBase(config)
        ? "a packed base is unpacked before each use"
        : undefined;
  if (reason === undefined) return;
  throw new TrainError("train.base_weights", reason, {
    remedy: "Leave --base-weights constants out.",
  });
}
