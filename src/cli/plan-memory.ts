import { describeModel, describedModel } from "../model/describe.ts";
import {
  describeBase,
  describePlacements,
  estimateStep,
  measureLayers,
  memoryFit,
  placementsJson,
  plannedTraining,
} from "../train/index.ts";
import type { MemoryFit, PricedSettings, TimedSettings } from "../train/index.ts";
import { formatBytes, formatMs } from "../util/format.ts";
import { baseJson } from "./base-choice.ts";
import { UsageError } from "./errors.ts";
import { printJson } from "./terminal.ts";

const UNITS: Readonly<Record<string, number>> = {
  "": 1,
  k: 1e3,
  m: 1e6,
  g: 1e9,
  t: 1e12,
  ki: 2 ** 10,
  mi: 2 ** 20,
  gi: 2 ** 30,
  ti: 2 ** 40,
};

/** "16GB" or "16GiB" in bytes. Apple's 16GB are 16 GiB, but not all of them are a process's. */
export function memorySize(text: string): number {
  const [, number = "", unit = ""] = /^([\d.]+)\s*([kmgt]i?)?b?$/i.exec(text.trim()) ?? [];
  const size = Number(number) * (UNITS[unit.toLowerCase()] ?? Number.NaN);
  if (number !== "" && Number.isFinite(size) && size >= 1) return Math.floor(size);
  throw new UsageError("cli.plan.memory", `--memory takes a size such as 16GB, not "${text}"`);
}

/** What a step takes, whether it fits, what limits it, and how long it is predicted to be. */
export async function printMemory(
  config: PricedSettings & TimedSettings,
  memory: string,
  flags: { readonly chip?: string; readonly json?: boolean; readonly measure?: boolean },
): Promise<void> {
  const model = plannedTraining(config);
  const fit = memoryFit(config, model, memorySize(memory), { onMachines: true });
  const step = flags.chip === undefined ? undefined : estimateStep(config, { chip: flags.chip });
  const measured = flags.measure === true ? await measureLayers(config) : undefined;
  if (flags.json === true) {
    const time = step && {
      chip: flags.chip,
      step_ms: step.estimate.ms,
      tokens: step.tokenCount,
      ...(step.base && { base_weights: baseJson(step.base) }),
      ...(step.placements && { placement: placementsJson(step.placements) }),
    };
    printJson({
      ...{ model: describedModel(model), method: config.method, fit },
      ...{ ...(time && { predicted: time }), ...(measured && { measured }) },
    });
    return;
  }
  const { asked } = fit;
  const lines = [
    describeModel(model),
    "",
    `${config.method}, ${config.batch_size} x ${config.max_seq_length} tokens: ${formatBytes(asked.byteLength)} of buffers`,
    ...asked.parts.map(({ what, byteLength }) => `  ${what.padEnd(24)} ${formatBytes(byteLength)}`),
    `about ${formatBytes(asked.residentByteLength)} resident, with what programs and the runtime take`,
    fit.fits
      ? `fits ${formatBytes(fit.memoryByteLength)}; most is taken by: ${fit.limit}`
      : `does not fit ${formatBytes(fit.memoryByteLength)}; it is limited by: ${fit.limit}`,
    ...(asked.inFileByteLength === 0
      ? []
      : [
          `${formatBytes(asked.inFileByteLength)} of the base's numbers stay in its file: they are read once forward and once backward a micro-batch`,
        ]),
    ...(fit.fromFile === undefined
      ? []
      : [
          `with the base's matrices in their file (--base-weights file, taken by itself where memory does not do): about ${formatBytes(fit.fromFile.residentByteLength)} resident`,
        ]),
    onMachines(fit),
    ...(step?.base === undefined ? [] : [describeBase(step.base)]),
    ...(step?.placements === undefined ? [] : [describePlacements(step.placements)]),
    ...(measured === undefined
      ? []
      : [
          `about ${formatMs(measured.ms)} a step here on ${measured.engine}: one to three layers were timed, ${formatMs(measured.layerMs)} each`,
        ]),
    ...(step === undefined
      ? []
      : [
          `predicted on ${flags.chip ?? ""}: ${formatMs(step.estimate.ms)} a step of ${step.tokenCount} tokens, one machine's work whether it fits or not; machines that split the layers work one after the other on a micro-batch, and the time between them is not counted`,
        ]),
  ];
  process.stdout.write(`${lines.join("\n")}\n`);
}

function onMachines({ canBeSplit, fewestMachines: fewest }: MemoryFit): string {
  if (!canBeSplit)
    return "its layers cannot be split over machines: pairs of answers and --lora-dropout need all of them in one";
  if (fewest === undefined) return "with one layer a machine it does not fit either";
  return `fits ${fewest} ${fewest === 1 ? "machine" : "machines"} of that memory with layers split`;
}
