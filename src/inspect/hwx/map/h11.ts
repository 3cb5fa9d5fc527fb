import type { BlockRows } from "./types.ts";

/** M9, M10, H11 (A12), H12 (A13) and T0: descriptor versions 4 to 6. Addresses are bytes. */
export const H11_BLOCKS: readonly BlockRows[] = [
  {
    block: "Common",
    base: 0x0,
    wordCount: 11,
    rows: [
      { at: 0x0, name: "InDim", fields: "Win:0-14 Hin:16-30", source: "inferred" },
      { at: 0x4, name: "ChCfg", fields: "InFmt:0-1 OutFmt:4-5", source: "inferred" },
      { at: 0x8, name: "Cin", fields: "Cin:0-16", source: "inferred" },
      { at: 0xc, name: "Cout", fields: "Cout:0-16", source: "inferred" },
      { at: 0x10, name: "OutDim", fields: "Wout:0-14 Hout:16-30", source: "inferred" },
      {
        at: 0x14,
        name: "ConvCfg",
        fields: "Kw:0-5 Kh:6-11 Sx:16-17 Sy:18-19 Ox:28-29 Oy:30-31",
        source: "inferred",
      },
      {
        at: 0x18,
        name: "GroupConvCfg",
        fields: "NumGroups:0-12 UnicastCin:16-31",
        source: "inferred",
      },
      { at: 0x1c, name: "TileCfg", fields: "TileHeight:0-14", source: "inferred" },
      { at: 0x20, name: "Cfg", fields: "ActiveNE:19-21 AccDoubleBufEn:26", source: "inferred" },
      {
        at: 0x24,
        name: "TaskInfo",
        fields: "TaskID:0-15 TaskQ:16-19 NID:20-27",
        source: "inferred",
      },
      { at: 0x28, name: "DPE", fields: "Value:0-31", source: "inferred" },
    ],
  },
  {
    block: "L2",
    base: 0x4800,
    wordCount: 9,
    rows: [
      { at: 0x4800, name: "L2Cfg", fields: "Value:0-31", source: "inferred" },
      {
        at: 0x4804,
        name: "SourceCfg",
        fields:
          "Type:0-1 Dependent:2-3 AliasConvSrc:4 AliasConvRslt:5 DMAFmt:6-7 DMAInterleave:8-11 DMACmpVec:12-15 DMAOffsetCh:16-18 AliasPlanarSrc:20 AliasPlanarRslt:22",
        source: "inferred",
      },
      { at: 0x4808, name: "SourceBase", fields: "Addr:4-20", source: "inferred" },
      { at: 0x480c, name: "SourceChannelStride", fields: "Stride:4-20", source: "inferred" },
      { at: 0x4810, name: "SourceRowStride", fields: "Stride:4-20", source: "inferred" },
      {
        at: 0x4814,
        name: "ResultCfg",
        fields:
          "Type:0-1 Dependent:2-3 AliasConvSrc:4 AliasConvRslt:5 DMAFmt:6-7 DMAInterleave:8-11 DMACmpVec:12-15 DMAOffsetCh:16-18 AliasPlanarSrc:20 AliasPlanarRslt:22",
        source: "inferred",
      },
      { at: 0x4818, name: "ResultBase", fields: "Addr:4-20", source: "inferred" },
      { at: 0x481c, name: "ResultChannelStride", fields: "Stride:4-20", source: "inferred" },
      { at: 0x4820, name: "ResultRowStride", fields: "Stride:4-20", source: "inferred" },
    ],
  },
  {
    block: "NE",
    base: 0x8800,
    wordCount: 5,
    rows: [
      {
        at: 0x8800,
        name: "KernelCfg",
        fields:
          "KernelFmt:0-1 PalettizedEn:2 PalettizedBits:4-7 SparseFmt:8 GroupKernelReuse:10 AlignedKernel:16",
        source: "inferred",
      },
      {
        at: 0x8804,
        name: "MACCfg",
        fields:
          "OpMode:0-2 KernelMode:3 BiasMode:4 MatrixBiasEn:6 BinaryPoint:8-13 PostScaleMode:14 NonlinearMode:16-17 ArgOutputSelect:20-23",
        source: "inferred",
      },
      { at: 0x8808, name: "MatrixVectorBias", fields: "Bias:0-15", source: "inferred" },
      {
        at: 0x880c,
        name: "AccBias",
        fields: "AccBias:0-15 AccBiasShift:16-20",
        source: "inferred",
      },
      {
        at: 0x8810,
        name: "PostScale",
        fields: "PostScale:0-15 PostRightShift:16-20",
        source: "inferred",
      },
    ],
  },
  {
    block: "TileDMASrc",
    base: 0xc800,
    wordCount: 9,
    rows: [
      { at: 0xc800, name: "DMAConfig", fields: "En:0", source: "inferred" },
      { at: 0xc804, name: "Base", fields: "Addr:6-31", source: "inferred" },
      { at: 0xc808, name: "RowStride", fields: "Stride:6-31", source: "inferred" },
      { at: 0xc80c, name: "PlaneStride", fields: "Stride:6-31", source: "inferred" },
      {
        at: 0xc810,
        name: "Fmt",
        fields:
          "FmtMode:0-1 Truncate:4-6 Shift:8 MemFmt:12-13 OffsetCh:16-18 Interleave:24-27 CmpVec:28-31",
        source: "inferred",
      },
      {
        at: 0xc814,
        name: "PixelOffset",
        fields: "Offset:0-15",
        source: "inferred",
        first: 0,
        count: 4,
      },
    ],
  },
  {
    block: "TileDMADst",
    base: 0x10800,
    wordCount: 5,
    rows: [
      { at: 0x10800, name: "DMAConfig", fields: "En:0 L2BfrMode:26", source: "inferred" },
      { at: 0x10804, name: "Base", fields: "Addr:6-31", source: "inferred" },
      { at: 0x10808, name: "RowStride", fields: "Stride:6-31", source: "inferred" },
      { at: 0x1080c, name: "PlaneStride", fields: "Stride:6-31", source: "inferred" },
      {
        at: 0x10810,
        name: "Fmt",
        fields:
          "FmtMode:0-1 Truncate:4-6 Shift:8 MemFmt:12-13 OffsetCh:16-18 ZeroPadLast:20 ZeroPadFirst:21 CmpVecFill:22 Interleave:24-27 CmpVec:28-31",
        source: "inferred",
      },
    ],
  },
  {
    block: "KernelDMA",
    base: 0x18800,
    wordCount: 483,
    rows: [
      {
        at: 0x18800,
        name: "CoeffDMAConfig",
        fields: "En:0",
        source: "inferred",
        first: 0,
        count: 16,
        stride: 0x80,
      },
      {
        at: 0x18804,
        name: "CoeffBase",
        fields: "Addr:6-31",
        source: "inferred",
        first: 0,
        count: 16,
        stride: 0x80,
      },
      {
        at: 0x18808,
        name: "CoeffBfrSize",
        fields: "Size:6-31",
        source: "inferred",
        first: 0,
        count: 16,
        stride: 0x80,
      },
    ],
  },
];
