import type { Family } from "./map/types.ts";

/**
 * How task descriptors are written: byte-addressed records (versions 4 to 7) or word-addressed dense and
 * scatter records (version 8 and later).
 */
export type Encoding = "byte-records" | "word-records";

/** A compiler target of HWX files: whose it is and how its task descriptors are written. */
export interface HwxTarget {
  readonly subtype: number;
  /** Apple's name of the target, as the compiler's `-t` option writes it in upper case. */
  readonly chip: string;
  /** Chips that carry it, where known. */
  readonly soc: string;
  /** Version of the task descriptor, or undefined where nobody has read it. */
  readonly descriptorVersion: number | undefined;
  readonly encoding: Encoding;
  /** Words of a task header without the optional last one. */
  readonly headerWords: number;
  /** The register map used. */
  readonly family: Family;
  /** False where the map is another family's, for want of one of this target's own. */
  readonly mapIsOwn: boolean;
}

type Row = readonly [
  subtype: number,
  chip: string,
  soc: string,
  descriptorVersion: number | undefined,
  headerWords: number,
  family: Family,
  mapIsOwn: boolean,
];

// Subtypes 0 to 6 are seen in samples; 7 and above are documented from the compiler's own table.
const ROWS: readonly Row[] = [
  [0, "M10", "M9, M10: watch", 5, 7, "h11", true],
  [1, "H11", "A12", 5, 7, "h11", true],
  [2, "T0", "test target", 4, 7, "h11", true],
  [3, "H12", "A13", 6, 7, "h11", true],
  [4, "H13", "A14, M1", 7, 10, "h13", true],
  [5, "H14", "A15, M2", 11, 8, "h14", true],
  [6, "H15", "A16, M3", 8, 8, "h15", true],
  [7, "H16", "A17 Pro, M4", 17, 9, "h16", true],
  [8, "M11", "watch", 10, 8, "h14", false],
  [9, "H17", "A18, M5", 19, 9, "h17", true],
  [10, "H18", "A19", 20, 9, "h18", true],
  [11, "H18g", "M6; also H19, A20", 24, 9, "h18g", true],
  [12, "subtype 12", "unknown", 31, 9, "h18g", false],
  [14, "subtype 14", "unknown", 36, 9, "h18g", false],
  [16, "subtype 16", "unknown", 28, 9, "h18g", false],
  [17, "M12", "watch", 26, 9, "h18g", false],
];

/** The target of a `cpusubtype`; an unlisted one is read as the newest known, and says so. */
export function targetOf(subtype: number): HwxTarget {
  const row = ROWS.find(([known]) => known === subtype);
  const [, chip, soc, descriptorVersion, headerWords, family, mapIsOwn] = row ?? [
    subtype,
    `subtype ${subtype}`,
    "unknown",
    undefined,
    9,
    "h18g" as const,
    false,
  ];
  const encoding = headerWords === 7 || headerWords === 10 ? "byte-records" : "word-records";
  return { subtype, chip, soc, descriptorVersion, encoding, headerWords, family, mapIsOwn };
}

/** The target of `.ane` files, which the Linux driver loads on M1 only. */
export const ANE_CONTAINER_TARGET: HwxTarget = targetOf(4);
