import { H11_BLOCKS } from "./h11.ts";
import { H13_BLOCKS } from "./h13.ts";
import { H14_BLOCKS } from "./h14.ts";
import { H15_BLOCKS } from "./h15.ts";
import { H16_BLOCKS } from "./h16.ts";
import type {
  BlockName,
  BlockRows,
  FieldPlace,
  Provenance,
  RegisterMap,
  RegisterPlace,
  RegisterRow,
} from "./types.ts";

export const FAMILIES = ["h11", "h13", "h14", "h15", "h16", "h17", "h18", "h18g"] as const;
export type Family = (typeof FAMILIES)[number];

/**
 * A family told by its differences from another one. Rows given replace those at the same address;
 * rows kept become `inferred`, because nobody has said them of this family.
 */
interface Variant {
  readonly base: readonly BlockRows[];
  readonly changes: Partial<Record<BlockName, BlockChange>>;
}

interface BlockChange {
  readonly wordCount?: number;
  /** Keep none of the base rows in this range of byte addresses (end not included). */
  readonly drop?: readonly [from: number, to: number];
  readonly rows?: readonly RegisterRow[];
}

const H17: Variant = {
  base: H16_BLOCKS,
  changes: {
    Common: {
      rows: [
        {
          at: 0x3c,
          name: "MacCfg",
          fields:
            "SmallSourceMode:2-3 TaskType:4-7 ShPref?:8-10 ShMin?:12-14 ShMax?:16-18 ActiveNE:19-21 PerfTraceEn:22 L2Barrier:23 ReluType:24-26",
          source: "documented",
        },
      ],
    },
    KernelDMA: { wordCount: 81 },
  },
};

const H18_CHANNEL_CFG: RegisterRow = {
  at: 0x0,
  name: "ChannelCfg",
  fields: "InFmt:0-2 Src2InFmt?:3-5 OutFmt:6-8",
  source: "documented",
};
const H18_PE_CFG: RegisterRow = {
  at: 0x4500,
  name: "Config",
  fields: "PoolMode?:0-1 Operation:2-4 Condition?:6-9 NLMode?:12-13 Src1Sel:16-18 Src2Sel:19-21",
  source: "documented",
};
const H18_TILE_OVERLAP: RegisterRow = {
  at: 0x38,
  name: "TileOverlap",
  fields: "Overlap:16-20 PadTop:21-25 PadBottom:26-30 Reflect:31",
  source: "documented",
};

const H18: Variant = {
  base: H16_BLOCKS,
  changes: {
    Common: {
      rows: [
        H18_CHANNEL_CFG,
        {
          at: 0x28,
          name: "ConvCfg",
          fields: "KW:0-5 KH:6-11 SX:13-14 SY:15-16 TexMode:22",
          source: "documented",
        },
        { at: 0x2c, name: "ConvCfg3d", fields: "3dSz:6-7 3dOz:21-25", source: "documented" },
        H18_TILE_OVERLAP,
      ],
    },
    L2: {
      wordCount: 43,
      drop: [0x4104, 0x41b0],
      rows: [
        {
          at: 0x4104,
          name: "MirrorWord",
          fields: "Value:0-31",
          source: "documented",
          first: 1,
          count: 3,
        },
        { at: 0x4148, name: "ResultBase", fields: "Addr:4-20", source: "documented" },
        { at: 0x414c, name: "ResultChannelStride", fields: "Stride:4-20", source: "inferred" },
        { at: 0x4150, name: "ResultRowStride", fields: "Stride:4-20", source: "inferred" },
        { at: 0x4154, name: "ResultDepthStride", fields: "Stride:4-20", source: "inferred" },
        { at: 0x4158, name: "ResultGroupStride", fields: "Stride:4-20", source: "inferred" },
      ],
    },
    PE: { wordCount: 16, rows: [H18_PE_CFG] },
    TileDMADst: { wordCount: 27 },
    KernelDMA: { wordCount: 83 },
    CacheDMA: { wordCount: 14 },
  },
};

/** A surface as the H18g address packets place it: one config word, base pair, four strides. */
function strideRows(prefix: string, baseAt: number, planeName: string): readonly RegisterRow[] {
  const names = ["RowStride", planeName, "DepthStride", "GroupStride"];
  return [
    { at: baseAt, name: `${prefix}BaseAddrLo`, fields: "AddrLo:0-31", source: "inferred" },
    { at: baseAt + 4, name: `${prefix}BaseAddrHi`, fields: "AddrHi:0-31", source: "inferred" },
    ...names.map((name, index): RegisterRow => ({
      at: baseAt + 8 + 4 * index,
      name: `${prefix}${name}`,
      fields: "Stride:6-31",
      source: "inferred",
    })),
  ];
}

const H18G: Variant = {
  base: H16_BLOCKS,
  changes: {
    Common: { rows: [H18_CHANNEL_CFG, H18_TILE_OVERLAP] },
    PE: { rows: [H18_PE_CFG] },
    NE: {
      rows: [
        {
          at: 0x4900,
          name: "KernelCfg",
          fields:
            "Fmt:0-1 PalettizedEn:2 PalBits:4-7 SparseEn:8 Reuse:10 SparseBinary:15 Align:16 AlignedBias:17-18 AlignedPostScale:19-20 BlockSize:21-23 AsymQuantEn:24 PaletteBlock:25-27 DetectZeros:28",
          source: "documented",
        },
        {
          at: 0x4908,
          name: "MacCfg",
          fields:
            "OpMode:0-2 KMode:3 BiasEn:4 PassEn:5 MVBiasEn:6 BinPoint:8-13 PostEn:14 NLMode:16-17 MaxPoolEn:19 ArgSel:20-23 DoubleInt8En:26 SmallSrc:27",
          source: "documented",
        },
      ],
      drop: [0x4904, 0x4940],
    },
    TileDMASrc: {
      drop: [0x4d00, 0x4f00],
      rows: [
        {
          at: 0x4d10,
          name: "Src1DMAConfig",
          fields: "Enable:0 CacheHint:5-7 DataSetId:8-15 UserTag:16-23",
          source: "inferred",
        },
        {
          at: 0x4d14,
          name: "Src2DMAConfig",
          fields: "Enable:0 CacheHint:5-7 DataSetId:8-15 UserTag:16-23",
          source: "inferred",
        },
        ...strideRows("Src1", 0x4d18, "ChannelStride"),
        ...strideRows("Src2", 0x4d30, "ChannelStride"),
      ],
    },
    TileDMADst: {
      drop: [0x5100, 0x5200],
      rows: [
        {
          at: 0x5108,
          name: "DstDMAConfig",
          fields: "Enable:0 DataSetId:8-15 UserTag:16-23",
          source: "inferred",
        },
        ...strideRows("Dst", 0x5110, "PlaneStride"),
      ],
    },
  },
};

function derive(variant: Variant): readonly BlockRows[] {
  return variant.base.map((block) => {
    const change = variant.changes[block.block] ?? {};
    const [from, to] = change.drop ?? [0, 0];
    const given = change.rows ?? [];
    const kept = block.rows
      .filter(
        (row) => !(row.at >= from && row.at < to) && !given.some((other) => other.at === row.at),
      )
      .map((row): RegisterRow => ({ ...row, source: "inferred" }));
    const rows = [...kept, ...given].sort((a, b) => a.at - b.at);
    return { ...block, wordCount: change.wordCount ?? block.wordCount, rows };
  });
}

const BLOCKS: Readonly<Record<Family, () => readonly BlockRows[]>> = {
  h11: () => H11_BLOCKS,
  h13: () => H13_BLOCKS,
  h14: () => H14_BLOCKS,
  h15: () => H15_BLOCKS,
  h16: () => H16_BLOCKS,
  h17: () => derive(H17),
  h18: () => derive(H18),
  h18g: () => derive(H18G),
};

const built = new Map<Family, RegisterMap>();

/** The register map of a family, expanded once. */
export function registerMap(family: Family): RegisterMap {
  const known = built.get(family);
  if (known !== undefined) return known;
  const blocks = BLOCKS[family]();
  const byAddress = new Map<number, RegisterPlace>();
  const byName = new Map<string, RegisterPlace>();
  for (const place of blocks.flatMap(expandBlock)) {
    byAddress.set(place.address, place);
    byName.set(`${place.block}.${place.name}`, place);
  }
  const map: RegisterMap = { family, blocks, byAddress, byName };
  built.set(family, map);
  return map;
}

function expandBlock(block: BlockRows): RegisterPlace[] {
  return block.rows.flatMap((row) => {
    const fields = parseFields(row.fields, row.source);
    const unknownBits = ~fields.reduce((bits, field) => bits | fieldMask(field), 0) >>> 0;
    return Array.from({ length: row.count ?? 1 }, (_, index) => ({
      block: block.block,
      name: row.first === undefined ? row.name : `${row.name}[${row.first + index}]`,
      address: row.at + index * (row.stride ?? 4),
      source: row.source,
      fields,
      unknownBits,
    }));
  });
}

function parseFields(text: string, source: Provenance): FieldPlace[] {
  return text
    .split(" ")
    .filter((part) => part !== "")
    .map((part) => {
      const [name = "", bits = ""] = part.split(":");
      const [low = "0", high = low] = bits.split("-");
      const guessed = name.endsWith("?");
      return {
        name: guessed ? name.slice(0, -1) : name,
        low: Number(low),
        high: Number(high),
        source: guessed ? "inferred" : source,
      };
    });
}

/** The bits of a field, in place. */
export function fieldMask(field: FieldPlace): number {
  const width = field.high - field.low + 1;
  return width >= 32 ? 0xffffffff : ((2 ** width - 1) << field.low) >>> 0;
}

/** The field's value, shifted down to bit 0. */
export function fieldValue(field: FieldPlace, word: number): number {
  return (word & fieldMask(field)) >>> field.low;
}
