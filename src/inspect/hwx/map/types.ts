/** How a register's name or a field's place is known. `inferred` is this project's own reading. */
export const PROVENANCES = ["sample", "documented", "inferred"] as const;
/** How a register's name or a field's place is known; one of `PROVENANCES`. */
export type Provenance = (typeof PROVENANCES)[number];

export const FAMILIES = ["h11", "h13", "h14", "h15", "h16", "h17", "h18", "h18g"] as const;
export type Family = (typeof FAMILIES)[number];

export const BLOCK_NAMES = [
  "Common",
  "L2",
  "PE",
  "NE",
  "TileDMASrc",
  "TileDMADst",
  "KernelDMA",
  "CacheDMA",
] as const;
export type BlockName = (typeof BLOCK_NAMES)[number];

/** One register, or `count` registers `stride` bytes apart that are numbered from `first`. */
export interface RegisterRow {
  /** Byte address of the first register. */
  readonly at: number;
  readonly name: string;
  /** `Name:bit` or `Name:low-high`, blank-separated; `?` behind a name marks an inferred place. */
  readonly fields: string;
  readonly source: Provenance;
  readonly first?: number;
  readonly count?: number;
  readonly stride?: number;
}

export interface BlockRows {
  readonly block: BlockName;
  /** Byte address of the block's first register. */
  readonly base: number;
  readonly wordCount: number;
  readonly rows: readonly RegisterRow[];
}

export interface FieldPlace {
  readonly name: string;
  readonly low: number;
  readonly high: number;
  readonly source: Provenance;
}

export interface RegisterPlace {
  readonly block: BlockName;
  readonly name: string;
  /** Byte address. */
  readonly address: number;
  readonly source: Provenance;
  readonly fields: readonly FieldPlace[];
  /** The bits that no field covers. */
  readonly unknownBits: number;
}

/** All registers of one family, by address and by `Block.Name`. */
export interface RegisterMap {
  readonly family: string;
  readonly blocks: readonly BlockRows[];
  readonly byAddress: ReadonlyMap<number, RegisterPlace>;
  readonly byName: ReadonlyMap<string, RegisterPlace>;
}
