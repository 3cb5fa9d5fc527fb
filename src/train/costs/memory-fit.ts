// Whether a step fits a memory, on one machine or with its layers split over several.
import { inFile } from "../../model/index.ts";
import type { Model } from "../../model/index.ts";
import { estimatedIntermediateBytes } from "../../onnx/intermediates.ts";
import { planMemory, totalByteLength } from "../../plan/index.ts";
import type { Plan } from "../../plan/index.ts";
import type { StepSettings } from "../config/part-settings.ts";
import { canBeSplit, planOf } from "../run/plan-of.ts";
import type { StepPart } from "../step/step-part.ts";

/**
 * Bytes that a training process takes beside its buffers and what is alive inside programs: Node.js, ONNX Runtime and
 * its compiled graphs. Measured on Linux (`npm run bench:finetune-memory`).
 */
const PROCESS_BYTE_LENGTH = 220 * 2 ** 20;

/** What the fullest machine takes, and for what. */
export interface MachineMemory {
  readonly machines: number;
  /** Blocks of the fullest machine: its first, and one past its last. */
  readonly blocks: readonly [first: number, end: number];
  /** Of its buffers. */
  readonly byteLength: number;
  /** What the process is expected to have resident at most: buffers, values inside programs, the runtime itself. */
  readonly residentByteLength: number;
  /** Buffers by what they hold, the largest first: weights, gradients, optimizer, activations and so on. */
  readonly parts: readonly { readonly what: string; readonly byteLength: number }[];
  /** Of weights that stay in their file, as fp32: each is read once forward and once backward. */
  readonly inFileByteLength: number;
}

/** Whether a step fits. */
export interface MemoryFit {
  readonly memoryByteLength: number;
  readonly asked: MachineMemory;
  readonly fits: boolean;
  /** What takes most. */
  readonly limit: string;
  /** With the base's matrices in their file, where that can be and was not asked for. */
  readonly fromFile?: MachineMemory;
  /** Pairs of answers and masks of dropout are for one machine that has every layer. */
  readonly canBeSplit: boolean;
  /** Fewest machines on which it fits, with layers split; absent where it was not asked for, one layer alone is too much, or nothing can be split. */
  readonly fewestMachines?: number;
}

/**
 * Holds the memory that a step's process is expected to take against what a machine has. `onMachines`: also on how many it
 * fits, which plans the parts of several counts.
 */
export function memoryFit(
  config: StepSettings,
  model: Model,
  memoryByteLength: number,
  { onMachines = false }: { readonly onMachines?: boolean } = {},
): MemoryFit {
  const asked = fullestMachine(config, model, 1);
  const isDivisible = canBeSplit(config, model);
  const most = isDivisible ? model.config.layerCount : 1;
  const fitsOn = (count: number): boolean =>
    fullestMachine(config, model, count).residentByteLength <= memoryByteLength;
  let fewest: number | undefined;
  if (onMachines && fitsOn(most)) {
    let [low, high] = [1, most];
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (fitsOn(middle)) high = middle;
      else low = middle + 1;
    }
    fewest = low;
  }
  return {
    ...{ memoryByteLength, asked },
    fits: asked.residentByteLength <= memoryByteLength,
    limit: asked.parts[0]?.what ?? "",
    canBeSplit: isDivisible,
    ...(fewest !== undefined && { fewestMachines: fewest }),
    ...(asked.residentByteLength > memoryByteLength && fromFile(config, model)),
  };
}

/** The same step with the base in its file. */
function fromFile(config: StepSettings, model: Model): Pick<MemoryFit, "fromFile"> {
  const { adapter } = model.parameters;
  if (adapter === undefined || adapter.method === "dora") return {};
  if (config.base_weights === "file") return {};
  return { fromFile: fullestMachine({ ...config, base_weights: "file" }, inFile(model), 1) };
}

/** Blocks are split evenly; the first machine has the embedding as well, the last one the head. */
function fullestMachine(config: StepSettings, model: Model, machines: number): MachineMemory {
  const layers = model.config.layerCount;
  if (machines === 1) return described(1, [0, layers], planOf(config, model).plan);
  const start = (machine: number): number => Math.floor((machine * layers) / machines);
  const places = new Set([0, Math.floor(machines / 2), machines - 1]);
  const all = [...places].map((machine) => {
    const part: StepPart = {
      firstBlock: start(machine),
      endBlock: start(machine + 1),
      slotCount: 1,
    };
    const { plan } = planOf(config, model, { part });
    return described(machines, [part.firstBlock, part.endBlock], plan);
  });
  return all.reduce((most, one) => (one.byteLength > most.byteLength ? one : most));
}

function described(machines: number, blocks: readonly [number, number], plan: Plan): MachineMemory {
  const memory = planMemory(plan);
  const byteLength = totalByteLength(memory);
  const inside = [...plan.programs.values()].map((program) =>
    // Kernels of the host hold nothing of their own.
    program.hostKernel === undefined ? estimatedIntermediateBytes(program.function) : 0,
  );
  const parts = [
    ...Object.entries(memory.persistent).map(([what, byteLength]) => ({ what, byteLength })),
    { what: "activations and scratch", byteLength: memory.transientByteLength },
  ];
  return {
    ...{ machines, blocks, byteLength },
    inFileByteLength: memory.inFileByteLength,
    residentByteLength: byteLength + Math.max(0, ...inside) + PROCESS_BYTE_LENGTH,
    parts: parts
      .filter(({ byteLength }) => byteLength > 0)
      .toSorted((a, b) => b.byteLength - a.byteLength),
  };
}
