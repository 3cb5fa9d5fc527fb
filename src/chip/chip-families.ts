import type { Chip, Family } from "./chip.ts";
import { claimed, inferred, measured } from "./figure.ts";
import type { Figure } from "./figure.ts";
import type { ChipRates } from "./rates.ts";
import { SOURCES } from "./sources.ts";
import { compileTarget } from "./targets.ts";

export const TFLOPS = "TFLOP/s";
export const GBPS = "GB/s";

/** Figures that were published for few chips; the others take what their drivers and memory suggest. */
type Seldom = "coremlFloor" | "edgeStream" | "splitSpeed" | "fillPositions";
type DraftRates = Omit<ChipRates, Seldom> & Partial<Pick<ChipRates, Seldom>>;

function completed(rates: DraftRates): ChipRates {
  return Object.freeze({
    coremlFloor: inferred(
      rates.inMemoryFloor.value + 0.06,
      "ms",
      "in memory and 0.06 ms of Core ML's own, as on M4 and M6",
    ),
    edgeStream: inferred(35, GBPS, "35 to 40 on M6, 20 to 33 on M3 Pro, 70 on M5 Max"),
    splitSpeed: inferred(1, "x", "one engine, or one program on one of them"),
    fillPositions: inferred(14, "positions", SOURCES.fit),
    ...rates,
  });
}

interface ChipDraft {
  readonly name: string;
  readonly family: Family;
  readonly architecture: string;
  readonly engineCount?: number;
  readonly clock: Figure;
  readonly advertisedTops: Figure;
  readonly advertisedMeaning: Chip["advertisedMeaning"];
  readonly loadPower: Figure;
  readonly rates: DraftRates;
  readonly onChipMemory?: readonly Figure[];
  readonly notes?: readonly string[];
}

const MEMORY_CLAIMS: readonly Figure[] = [
  claimed(2, "MB", `${SOURCES.guide}: working-set threshold on M1`),
  claimed(4, "MB", `${SOURCES.tinygrad}: managed L2`),
  claimed(
    32,
    "MB",
    `${SOURCES.substack}: withdrawn by its author in part 4; the drop it explained is a DMA notch and a straight line`,
  ),
  measured(
    2,
    "MiB",
    `${SOURCES.study}, ${SOURCES.part4}: an operand beyond it comes in tiles, and a tile runs through a whole chain: what stands between layers never leaves the chip`,
  ),
  measured(
    1,
    "MiB",
    `${SOURCES.study}, ${SOURCES.slavko}: a constant weight up to 64 KiB a core stays on chip between layers that share it`,
  ),
  inferred(
    8,
    "MB",
    `${SOURCES.int8}: 4 MiB activations in a chain of convolutions keep the full product rate on M4`,
  ),
];

/** GB/s by generation: base, Pro, Max, Ultra. */
const MEMORY_BANDWIDTH: Readonly<Record<string, readonly [number, number, number, number]>> = {
  M1: [68, 200, 400, 800],
  M2: [100, 200, 400, 800],
  M3: [100, 150, 400, 819],
  M4: [120, 273, 546, 1092],
  M5: [153, 307, 614, 1228],
  A14: [34, 34, 34, 34],
  A15: [34, 34, 34, 34],
  A16: [51, 51, 51, 51],
  A17: [51, 51, 51, 51],
  A18: [60, 60, 60, 60],
};

function memoryBandwidth(name: string): Figure {
  const [generation = "", tier = ""] = name.split(" ");
  const figures = MEMORY_BANDWIDTH[generation];
  if (figures === undefined) return inferred(153, GBPS, "as M5");
  const value = figures[["", "Pro", "Max", "Ultra"].indexOf(tier)] ?? figures[0];
  if (generation.startsWith("A")) return inferred(value, GBPS, "64 bits of its kind of LPDDR");
  return claimed(value, GBPS, SOURCES.apple);
}

export function chip(draft: ChipDraft): Chip {
  const engines = draft.engineCount ?? 1;
  const units = (draft.advertisedTops.value * 1e12) / (2 * draft.clock.value * 1e6);
  return Object.freeze({
    name: draft.name,
    id: draft.name.toLowerCase().replaceAll(" ", "-"),
    family: draft.family,
    architecture: draft.architecture,
    engineCount: engines,
    cores: claimed(16 * engines, "cores", SOURCES.apple),
    clock: draft.clock,
    advertised: draft.advertisedTops,
    advertisedMeaning: draft.advertisedMeaning,
    multiplyAccumulateUnits: inferred(
      Math.round(units),
      draft.advertisedMeaning === "int8" ? "int8 units" : "fp16 units",
      "advertised TOPS / (2 x clock)",
    ),
    onChipMemory: draft.onChipMemory ?? MEMORY_CLAIMS,
    loadPower: draft.loadPower,
    idlePower: measured(0, "W", `${SOURCES.roofline}: the engine's rail at rest; ${SOURCES.part4}`),
    memoryBandwidth: memoryBandwidth(draft.name),
    rates: completed(draft.rates),
    notes: draft.notes ?? [],
  });
}

/** A figure read on some machines, as a record of its family has it: measured there, inferred elsewhere. */
function readOn(name: string): (machines: string, figure: Figure) => Figure {
  return (machines, figure) =>
    machines.split(", ").includes(name)
      ? figure
      : inferred(figure.value, figure.unit, `as ${machines}: ${figure.source}`);
}

const noInt8 = inferred(1, "x", "int8 weights become fp16 before the multiplier; no W8A8 row");
const int8Measured = measured(1.88, "x", `${SOURCES.int8}, ${SOURCES.gist}, ${SOURCES.m5max}`);
const h13Clock = measured(1464, "MHz", SOURCES.compilerTable);
const h14Clock = measured(1938, "MHz", SOURCES.compilerTable);
const h15Clock = measured(2064, "MHz", SOURCES.compilerTable);
const h16Clock = measured(2364, "MHz", SOURCES.compilerTable);

export function h13(name: string, rates: Partial<ChipRates>, extra: Partial<ChipDraft> = {}): Chip {
  const on = readOn(name);
  return chip({
    name,
    family: "H13",
    architecture: "h13g",
    clock: h13Clock,
    advertisedTops: claimed(11 * (extra.engineCount ?? 1), "TOPS", SOURCES.apple),
    advertisedMeaning: "fp16",
    loadPower: on("M1", measured(5.05, "W", `${SOURCES.roofline}: GEMM 4096`)),
    rates: {
      inMemoryFloor: on("M1", measured(0.22, "ms", `${SOURCES.guide} (0.23 ms)`)),
      e5rtFloor: on("M1", measured(0.22, "ms", SOURCES.roofline)),
      pointwise: inferred(11, TFLOPS, "as its 3x3 convolutions"),
      spatial: on(
        "M1 Max",
        measured(11.6, TFLOPS, `${SOURCES.roofline}: slope of 3x3 convolutions`),
      ),
      matmul: on("M1, M1 Max", measured(9.7, TFLOPS, SOURCES.roofline)),
      int8Factor: noInt8,
      weightStream: on("M1", measured(42, GBPS, `${SOURCES.roofline}: 1x4096x4096`)),
      activationStream: inferred(90, GBPS, SOURCES.fit),
      hostCopy: on("M1", measured(7, GBPS, SOURCES.roofline)),
      hostProducts: on("M1, M1 Max", measured(1.2, TFLOPS, `${SOURCES.roofline}: Accelerate`)),
      energyScale: inferred(1.55, "x", SOURCES.fit),
      ...rates,
    },
    ...extra,
  });
}

export function h14(name: string, rates: Partial<ChipRates>, extra: Partial<ChipDraft> = {}): Chip {
  const on = readOn(name);
  return chip({
    name,
    family: "H14",
    architecture: "h14g",
    clock: h14Clock,
    advertisedTops: claimed(15.8 * (extra.engineCount ?? 1), "TOPS", SOURCES.apple),
    advertisedMeaning: "fp16",
    loadPower: on("M2 Max", measured(4.6, "W", `${SOURCES.roofline}: GEMM 4096`)),
    rates: {
      inMemoryFloor: on("M2 Pro", measured(0.07, "ms", `${SOURCES.autoane}: whole calls of 0.128`)),
      e5rtFloor: on("M2 Max", measured(0.2, "ms", SOURCES.roofline)),
      pointwise: inferred(14, TFLOPS, "as its 3x3 convolutions"),
      spatial: on("M2 Max", measured(14, TFLOPS, `${SOURCES.roofline}: slope of 3x3 convolutions`)),
      matmul: on("M2 Pro, M2 Max", measured(12, TFLOPS, SOURCES.roofline)),
      int8Factor: noInt8,
      weightStream: on("M2 Ultra", measured(62, GBPS, SOURCES.headBench)),
      activationStream: inferred(100, GBPS, SOURCES.fit),
      hostCopy: on("M2 Max", measured(9, GBPS, SOURCES.roofline)),
      hostProducts: on("M2 Pro, M2 Max", measured(2.2, TFLOPS, `${SOURCES.roofline}: Accelerate`)),
      energyScale: inferred(1.15, "x", SOURCES.fit),
      ...rates,
    },
    ...extra,
  });
}

export function h15(name: string, rates: Partial<ChipRates>, extra: Partial<ChipDraft> = {}): Chip {
  const on = readOn(name);
  return chip({
    name,
    family: "H15",
    architecture: "h15g",
    clock: h15Clock,
    advertisedTops: claimed(18 * (extra.engineCount ?? 1), "TOPS", SOURCES.apple),
    advertisedMeaning: "fp16",
    loadPower: inferred(4, "W", SOURCES.sibling),
    rates: {
      inMemoryFloor: on("M3 Max", measured(0.1, "ms", `${SOURCES.espresso}: 0.095 ms`)),
      e5rtFloor: inferred(0.1, "ms", "as in memory"),
      pointwise: on("M3 Pro", measured(17, TFLOPS, `${SOURCES.report}: 16.77 with dispatch`)),
      spatial: inferred(17, TFLOPS, "as 1x1"),
      matmul: inferred(15, TFLOPS, SOURCES.sibling),
      int8Factor: noInt8,
      weightStream: on(
        "M3 Ultra",
        measured(62, GBPS, `${SOURCES.headBench}: half of M3 Ultra's 121`),
      ),
      activationStream: inferred(120, GBPS, SOURCES.fit),
      hostCopy: inferred(9, GBPS, "between M2 and M4"),
      hostProducts: inferred(1.8, TFLOPS, SOURCES.sibling),
      energyScale: inferred(1.05, "x", SOURCES.sibling),
      fillPositions: inferred(
        40,
        "positions",
        `${SOURCES.fit}; ${SOURCES.slavko}: 54 by 12.8 TFLOP/s at 128 places`,
      ),
      ...rates,
    },
    ...extra,
  });
}

export function h16(name: string, rates: Partial<ChipRates>, extra: Partial<ChipDraft> = {}): Chip {
  const on = readOn(name);
  return chip({
    name,
    family: "H16",
    architecture: "h16g",
    clock: h16Clock,
    advertisedTops: claimed(38, "TOPS", SOURCES.apple),
    advertisedMeaning: "int8",
    loadPower: on("M4", measured(5.5, "W", `${SOURCES.roofline}: 3x3 convolutions`)),
    rates: {
      inMemoryFloor: on(
        "M4",
        measured(0.08, "ms", `${SOURCES.chain} (0.087), ${SOURCES.slavko} (0.071)`),
      ),
      coremlFloor: on("M4", measured(0.12, "ms", `${SOURCES.study}: chains of 512 and 2048`)),
      fillPositions: on("M4", measured(18, "positions", `${SOURCES.slavko}, ${SOURCES.chain}`)),
      e5rtFloor: on("M4", measured(0.09, "ms", SOURCES.roofline)),
      pointwise: on("M4", measured(18.8, TFLOPS, SOURCES.int8)),
      spatial: on("M4", measured(19, TFLOPS, `${SOURCES.roofline}: slope of 3x3 convolutions`)),
      matmul: on("M4", measured(18.5, TFLOPS, SOURCES.roofline)),
      int8Factor: on("M4", int8Measured),
      weightStream: on(
        "M4",
        measured(60, GBPS, `${SOURCES.sweep} (56.5), ${SOURCES.headBench} (64)`),
      ),
      activationStream: inferred(150, GBPS, SOURCES.fit),
      hostCopy: on("M4", measured(8.5, GBPS, SOURCES.roofline)),
      hostProducts: on("M4", measured(1.5, TFLOPS, `${SOURCES.roofline}: Accelerate`)),
      energyScale: inferred(1, "x", "M4 is the reference"),
      ...rates,
    },
    ...extra,
  });
}

export function h17(name: string, rates: Partial<ChipRates>, extra: Partial<ChipDraft> = {}): Chip {
  const on = readOn(name);
  return chip({
    name,
    family: "H17",
    architecture: "h17g",
    clock: measured(2364, "MHz", SOURCES.compilerTable),
    advertisedTops: inferred(38, "TOPS", "not disclosed; its int8 rate equals M4's"),
    advertisedMeaning: "not stated",
    loadPower: on("M5", measured(6.4, "W", `${SOURCES.roofline}: GEMM 2048`)),
    rates: {
      inMemoryFloor: on(
        "M5",
        measured(0.07, "ms", "maderix/ANE training/m5result.md: 0.06 to 0.08 ms"),
      ),
      e5rtFloor: on("M5", measured(0.075, "ms", SOURCES.curves)),
      pointwise: on("M5", measured(18.5, TFLOPS, SOURCES.gist)),
      spatial: on("M5", measured(26, TFLOPS, `${SOURCES.roofline}: slope of 3x3 convolutions`)),
      matmul: on("M5", measured(23, TFLOPS, SOURCES.roofline)),
      int8Factor: on("M5, M5 Max", int8Measured),
      weightStream: inferred(
        70,
        GBPS,
        "M4's by the memory's ratio: 76; ane-infer's fused layer: 60",
      ),
      activationStream: inferred(150, GBPS, SOURCES.fit),
      hostCopy: on("M5", measured(26, GBPS, SOURCES.roofline)),
      hostProducts: on("M5", measured(2, TFLOPS, `${SOURCES.roofline}: Accelerate`)),
      energyScale: inferred(0.95, "x", SOURCES.fit),
      ...rates,
    },
    ...extra,
  });
}

/**
 * A phone's chip, as its family's M chip scaled by the advertised rate and the compiler's clock. Nobody published a
 * time for one of these programs on it, and this project's drivers run on Macs only.
 */
export function phone(
  name: string,
  targetName: string,
  sibling: Chip,
  advertisedTops: number,
  advertisedMeaning: "fp16" | "int8",
  notes: readonly string[] = [],
): Chip {
  const bandwidth = memoryBandwidth(name);
  const speed = advertisedTops / sibling.advertised.value;
  const scaled = (figure: Figure, factor: number): Figure =>
    inferred(figure.value * factor, figure.unit, `${sibling.name}'s, scaled by advertised TOPS`);
  const copied = (figure: Figure): Figure =>
    inferred(figure.value, figure.unit, `as ${sibling.name}`);
  const { rates } = sibling;
  return chip({
    name,
    family: sibling.family,
    architecture: targetName,
    clock: compileTarget(targetName).maximumClock ?? copied(sibling.clock),
    advertisedTops: claimed(advertisedTops, "TOPS", SOURCES.apple),
    advertisedMeaning,
    loadPower: copied(sibling.loadPower),
    rates: {
      inMemoryFloor: copied(rates.inMemoryFloor),
      e5rtFloor: copied(rates.e5rtFloor),
      pointwise: scaled(rates.pointwise, speed),
      spatial: scaled(rates.spatial, speed),
      matmul: scaled(rates.matmul, speed),
      int8Factor: copied(rates.int8Factor),
      weightStream: inferred(
        Math.min(rates.weightStream.value, bandwidth.value * 0.7),
        GBPS,
        `${sibling.name}'s, at most 0.7 of its own memory`,
      ),
      activationStream: copied(rates.activationStream),
      hostCopy: copied(rates.hostCopy),
      hostProducts: scaled(rates.hostProducts, 0.7),
      energyScale: copied(rates.energyScale),
    },
    notes: [
      ...notes,
      `A phone's chip, known by its compile target${notes.length > 0 ? "" : " only: no published time"}; the drivers here run on Macs.`,
    ],
  });
}
