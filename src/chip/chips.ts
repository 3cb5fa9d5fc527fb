import { didYouMean } from "../util/nearest.ts";
import type { Chip } from "./chip.ts";
import { TFLOPS, GBPS, h13, h14, h15, h16, h17, phone } from "./chip-families.ts";
import { ChipError } from "./errors.ts";
import { inferred, measured } from "./figure.ts";
import { SOURCES } from "./sources.ts";

const m1 = h13("M1", {});
const m2 = h14("M2", {});
const m3 = h15("M3", {});
const m4 = h16(
  "M4",
  {},
  {
    notes: [
      `2.79 W and 6.6 TFLOP/s/W (${SOURCES.substack}) were read in Low Power Mode: 4.57 W at full speed, 12.25 W with int8, 4.1 TFLOP/s/W (${SOURCES.part4}); 5.2 W (${SOURCES.study}).`,
    ],
  },
);
const m5 = h17("M5", {});

const ultraNotes = [
  "Two engines in the package; one program runs on one of them, so one program is no faster than on the Max.",
];

/** Every chip with a record, oldest first. */
export const CHIPS: readonly Chip[] = Object.freeze([
  m1,
  h13("M1 Pro", { hostCopy: inferred(7.5, GBPS, "as M1 Max") }),
  h13(
    "M1 Max",
    {
      hostCopy: measured(8.3, GBPS, SOURCES.roofline),
      matmul: measured(10.3, TFLOPS, SOURCES.roofline),
      energyScale: inferred(1.2, "x", SOURCES.fit),
      e5rtFloor: measured(0.27, "ms", SOURCES.roofline),
    },
    { loadPower: measured(3.6, "W", `${SOURCES.roofline}: GEMM 4096`) },
  ),
  h13("M1 Ultra", {}, { engineCount: 2, notes: ultraNotes }),
  m2,
  h14(
    "M2 Pro",
    {
      hostCopy: measured(3, GBPS, `${SOURCES.roofline}: the one machine measured copies slowly`),
      e5rtFloor: measured(0.25, "ms", SOURCES.roofline),
    },
    { loadPower: measured(2.6, "W", `${SOURCES.roofline}: GEMM 4096`) },
  ),
  h14("M2 Max", { hostCopy: measured(9.5, GBPS, SOURCES.roofline) }),
  h14("M2 Ultra", {}, { engineCount: 2, notes: ultraNotes }),
  m3,
  h15("M3 Pro", {
    inMemoryFloor: inferred(0.13, "ms", `${SOURCES.fit}; ${SOURCES.slavko} reads 0.06 to 0.3`),
    pointwise: measured(18.2, TFLOPS, `${SOURCES.slavko}: chain of 512 channels, 4096 places`),
    weightStream: inferred(
      43,
      GBPS,
      `${SOURCES.fit}; ${SOURCES.slavko}: 36 to 40 read again by each layer, 64 by three single layers`,
    ),
    edgeStream: inferred(26, GBPS, `${SOURCES.fit}; ${SOURCES.slavko}: 20 to 33`),
  }),
  h15("M3 Max", {
    weightStream: inferred(75, GBPS, "ane.cpp: 8 GB of weights a token at 9.2 tokens/s"),
    hostCopy: inferred(18, GBPS, "between M2 Max and M4 Max"),
  }),
  h15(
    "M3 Ultra",
    {
      inMemoryFloor: inferred(
        0.19,
        "ms",
        `${SOURCES.fit}: 0.2 by the line through ${SOURCES.chain}, 0.18 by a call of one convolution that takes 0.189`,
      ),
      pointwise: inferred(20, TFLOPS, SOURCES.fit),
      fillPositions: inferred(30, "positions", SOURCES.fit),
      weightStream: measured(121, GBPS, SOURCES.headBench),
      hostCopy: inferred(18, GBPS, "as M3 Max"),
    },
    {
      engineCount: 2,
      notes: [
        ...ultraNotes,
        `${SOURCES.rustane}: slows after about 1e5 evaluations until programs are compiled anew.`,
      ],
    },
  ),
  m4,
  h16("M4 Pro", {
    weightStream: inferred(100, GBPS, "between M4 and M4 Max"),
    hostCopy: measured(13.5, GBPS, SOURCES.roofline),
    pointwise: inferred(20.5, TFLOPS, SOURCES.fit),
    inMemoryFloor: inferred(0.09, "ms", "as M4"),
    hostProducts: measured(2.9, TFLOPS, `${SOURCES.roofline}: Accelerate`),
  }),
  h16(
    "M4 Max",
    {
      inMemoryFloor: measured(0.11, "ms", `${SOURCES.chain}, ${SOURCES.sweep}`),
      e5rtFloor: measured(0.09, "ms", SOURCES.roofline),
      weightStream: measured(115, GBPS, SOURCES.sweep),
      spatial: measured(19.5, TFLOPS, `${SOURCES.roofline}: slope of 3x3 convolutions`),
      matmul: measured(20, TFLOPS, SOURCES.roofline),
      hostCopy: measured(26, GBPS, SOURCES.roofline),
      hostProducts: measured(3.2, TFLOPS, `${SOURCES.roofline}: Accelerate`),
      energyScale: inferred(1.15, "x", SOURCES.fit),
    },
    { loadPower: measured(9.5, "W", `${SOURCES.roofline}: 3x3 convolutions`) },
  ),
  m5,
  h17(
    "M5 Pro",
    {
      weightStream: measured(155, GBPS, SOURCES.gemv),
      hostCopy: measured(30, GBPS, SOURCES.roofline),
      matmul: measured(24, TFLOPS, SOURCES.roofline),
      hostProducts: measured(1.8, TFLOPS, `${SOURCES.roofline}: Accelerate`),
    },
    { loadPower: measured(9.8, "W", `${SOURCES.roofline}: GEMM 2048`) },
  ),
  h17("M5 Max", {
    pointwise: measured(19.3, TFLOPS, SOURCES.m5max),
    weightStream: measured(150, GBPS, SOURCES.qwenAne),
    edgeStream: measured(70, GBPS, SOURCES.qwenAne),
    inMemoryFloor: measured(0.095, "ms", `${SOURCES.qwenAne}: median of 300`),
    hostCopy: inferred(30, GBPS, "as M5 Pro"),
  }),
  h17(
    "M6",
    {
      e5rtFloor: measured(0.28, "ms", `${SOURCES.roofline}: single calls; 0.2 ms in a loop`),
      inMemoryFloor: inferred(0.2, "ms", "as e5rt in a loop"),
      coremlFloor: measured(0.155, "ms", `${SOURCES.study}: 0.164 for a call that does nothing`),
      spatial: measured(30, TFLOPS, `${SOURCES.study}: 31 at best on one engine, Winograd`),
      matmul: measured(18, TFLOPS, `${SOURCES.roofline}: 30 on two engines`),
      pointwise: measured(
        19.6,
        TFLOPS,
        `${SOURCES.study}: 21.1 at best, slope 20.6, on one engine`,
      ),
      int8Factor: measured(1.9, "x", `${SOURCES.study}: 62 on 3x3`),
      weightStream: measured(140, GBPS, `${SOURCES.study}: 150 at best, shared by both engines`),
      activationStream: measured(115, GBPS, `${SOURCES.study}: additions, an engine`),
      edgeStream: measured(37, GBPS, `${SOURCES.study}: 35 to 40 an engine`),
      splitSpeed: measured(1.65, "x", `${SOURCES.study}: programs that the compiler splits`),
      hostCopy: measured(26, GBPS, SOURCES.roofline),
    },
    {
      family: "H18",
      architecture: "h18g",
      engineCount: 2,
      loadPower: measured(6.2, "W", `${SOURCES.study}: one engine; 10.8 on two`),
      notes: [
        "Two engines on one die, powered together; the compiler decides whether a program runs on both.",
        "The power rail reads NaN there; watts are from the machine's sensors.",
      ],
    },
  ),
  phone("A14", "h13", m1, 11, "fp16"),
  phone("A15", "h14", m2, 15.8, "fp16"),
  phone("A16", "h15", m3, 17, "fp16"),
  phone("A17 Pro", "h16", m4, 35, "int8", [
    `A forward pass of 110M parameters over 256 tokens takes 96.9 ms there, 49.2 of it conversions and 38.4 kernels; 2.51 W of the whole phone, a training step 200 ms (${SOURCES.iphone}).`,
  ]),
  phone("A18", "h17", m5, 35, "int8"),
  phone("A18 Pro", "h17", m5, 35, "int8"),
]);

const BY_ID: ReadonlyMap<string, Chip> = new Map(CHIPS.map((record) => [record.id, record]));

/** Accepts "M4 Max", "m4-max", "m4max", "Apple M4 Max". */
export function chipId(name: string): string {
  const compact = name
    .trim()
    .slice(0, 64)
    .toLowerCase()
    .replace(/^apple[\s_-]*/, "")
    .replaceAll(/[\s_-]+/g, "");
  return compact.replace(/^([am]\d+)(pro|max|ultra)$/, "$1-$2");
}

/** A chip by its name or one of its other names; nothing where nobody has it. */
export function findChip(name: string): Chip | undefined {
  return BY_ID.get(chipId(name));
}

/** The record of a chip by name. Throws `ChipError` `chip.unknown` with the nearest known name. */
export function chipByName(name: string): Chip {
  const found = findChip(name);
  if (found !== undefined) return found;
  throw new ChipError(
    "chip.unknown",
    `There is no chip "${name.slice(0, 64)}".${didYouMean(name.trim().toLowerCase().replace(/^sim:/, ""), BY_ID.keys())}`,
    { remedy: `Known chips: ${[...BY_ID.keys()].join(", ")}.` },
  );
}

/**
 * The record that stands for a chip as somebody wrote it, "MacBook Pro M4 Max, 40 GPU cores": its own, else one of
 * its generation, else the newest; nothing where the text names no chip.
 */
export function nearestChip(text: string): Chip | undefined {
  const own = findChip(text);
  if (own !== undefined) return own;
  const found = /\b([am]\d{1,2})(?:[\s_-]*(pro|max|ultra))?(?![a-z0-9])/i.exec(text.slice(0, 256));
  const generation = found?.[1]?.toLowerCase();
  if (generation === undefined) return undefined;
  const tier = found?.[2]?.toLowerCase() ?? "";
  const tiers = {
    "": ["", "pro"],
    pro: ["pro", ""],
    max: ["max", "pro", ""],
    ultra: ["ultra", "max", "pro", ""],
  };
  for (const candidate of tiers[tier as keyof typeof tiers]) {
    const record = BY_ID.get(candidate === "" ? generation : `${generation}-${candidate}`);
    if (record !== undefined) return record;
  }
  const letter = generation[0] ?? "";
  const number = Number(generation.slice(1));
  return CHIPS.filter(
    ({ id }) => id.startsWith(letter) && Number.parseInt(id.slice(1), 10) < number,
  ).at(-1);
}
