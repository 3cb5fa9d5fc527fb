/**
 * The names under which the generations hold one and the same thing, as `Block.Register.Field`; the first that a
 * family's map has is meant. A new family needs a line here only where it names a thing differently.
 */
export const FIELD = {
  inputWidth: ["Common.InDim.Win", "Common.InWidth.Win"],
  inputHeight: ["Common.InDim.Hin", "Common.InHeight.Hin"],
  inputDepth: ["Common.InDepth.Din"],
  inputChannels: ["Common.Cin.Cin", "Common.InChannels.Cin"],
  outputWidth: ["Common.OutDim.Wout", "Common.OutWidth.Wout"],
  outputHeight: ["Common.OutDim.Hout", "Common.OutHeight.Hout"],
  outputDepth: ["Common.OutDepth.Dout"],
  outputChannels: ["Common.Cout.Cout", "Common.OutChannels.Cout"],
  inputFormat: ["Common.ChCfg.InFmt", "Common.ChannelCfg.InFmt"],
  input2Format: ["Common.ChCfg.Src2InFmt", "Common.ChannelCfg.Src2InFmt"],
  outputFormat: ["Common.ChCfg.OutFmt", "Common.ChannelCfg.OutFmt"],
  kernelWidth: ["Common.ConvCfg.Kw", "Common.ConvCfg.KW"],
  kernelHeight: ["Common.ConvCfg.Kh", "Common.ConvCfg.KH"],
  kernelDepth: ["Common.ConvCfg3d.Kd", "Common.ConvCfg3d.3dKd"],
  strideX: ["Common.ConvCfg.Sx", "Common.ConvCfg.SX"],
  strideY: ["Common.ConvCfg.Sy", "Common.ConvCfg.SY"],
  padLeft: ["Common.ConvCfg.Px", "Common.ConvCfg.PadLeft"],
  padTop: ["Common.ConvCfg.Py", "Common.ConvCfg.PadTop"],
  groups: ["Common.GroupConvCfg.NumGroups", "Common.NumGroups.NumGroups"],
  unicast: ["Common.GroupConvCfg.UnicastEn", "Common.UnicastCfg.UnicastEn"],
  unicastChannels: ["Common.GroupConvCfg.UnicastCin", "Common.UnicastCfg.UnicastCin"],
  tileHeight: ["Common.TileCfg.TileHeight", "Common.TileHeight.TileHeight"],
  activeCores: ["Common.Cfg.ActiveNE", "Common.MacCfg.ActiveNE"],
  taskType: ["Common.Cfg.TaskType", "Common.MacCfg.TaskType"],
  neOperation: ["NE.MACCfg.OpMode", "NE.MacCfg.OpMode"],
  neNonlinearity: ["NE.MACCfg.NonlinearMode", "NE.MacCfg.NonlinearMode", "NE.MacCfg.NLMode"],
  neMaxPool: ["NE.MacCfg.MaxPoolEn"],
  kernelFormat: ["NE.KernelCfg.KernelFmt", "NE.KernelCfg.Fmt"],
  palettized: ["NE.KernelCfg.PalettizedEn"],
  paletteBits: ["NE.KernelCfg.PalettizedBits", "NE.KernelCfg.PalBits"],
  sparse: ["NE.KernelCfg.SparseFmt", "NE.KernelCfg.SparseEn"],
  peOperation: ["PE.Cfg.OpMode", "PE.Config.Operation"],
  pePoolMode: ["PE.Cfg.PoolMode", "PE.Config.PoolMode"],
  peCondition: ["PE.Config.Condition"],
  peNonlinearity: ["PE.Config.NLMode"],
  peRelu: ["PE.Cfg.ReluEn"],
  peSecondSource: ["PE.Cfg.SecSrc", "PE.Config.Src2Sel"],
  kernelMaster: ["KernelDMA.MasterConfig.MasterEnable"],
  sourceL2: ["L2.SourceBase.Addr", "L2.Src1Base.Addr"],
  source2L2: ["L2.Source2Base.Addr", "L2.Src2Base.Addr"],
  resultL2: ["L2.ResultBase.Addr"],
} as const satisfies Readonly<Record<string, readonly string[]>>;

export const WORD = {
  peConfig: ["PE.Cfg", "PE.Config"],
  sourceFormat: ["TileDMASrc.Fmt", "TileDMASrc.Src1Fmt"],
  source2Format: ["TileDMASrc.Src2Fmt"],
  resultFormat: ["TileDMADst.Fmt", "TileDMADst.DstFmt"],
} as const satisfies Readonly<Record<string, readonly string[]>>;

type StrideNames = Readonly<
  Record<"base" | "row" | "channel" | "depth" | "group" | "interleave", readonly string[]>
>;

/** Where a DMA operand's base, strides and interleave are. */
export const DMA: Readonly<Record<"source" | "source2" | "result", StrideNames>> = {
  source: {
    base: [
      "TileDMASrc.Base.Addr",
      "TileDMASrc.Src1Base.Addr",
      "TileDMASrc.Src1BaseLo.Addr",
      "TileDMASrc.Src1BaseAddrLo.AddrLo",
    ],
    row: ["TileDMASrc.RowStride.Stride", "TileDMASrc.Src1RowStride.Stride"],
    channel: [
      "TileDMASrc.PlaneStride.Stride",
      "TileDMASrc.Src1PlaneStride.Stride",
      "TileDMASrc.Src1ChannelStride.Stride",
    ],
    depth: ["TileDMASrc.Src1DepthStride.Stride"],
    group: ["TileDMASrc.Src1GroupStride.Stride"],
    interleave: ["TileDMASrc.Fmt.Interleave", "TileDMASrc.Src1Fmt.Interleave"],
  },
  source2: {
    base: [
      "TileDMASrc.Src2Base.Addr",
      "TileDMASrc.Src2BaseLo.Addr",
      "TileDMASrc.Src2BaseAddrLo.AddrLo",
    ],
    row: ["TileDMASrc.Src2RowStride.Stride"],
    channel: ["TileDMASrc.Src2PlaneStride.Stride", "TileDMASrc.Src2ChannelStride.Stride"],
    depth: ["TileDMASrc.Src2DepthStride.Stride"],
    group: ["TileDMASrc.Src2GroupStride.Stride"],
    interleave: ["TileDMASrc.Src2Fmt.Interleave"],
  },
  result: {
    base: ["TileDMADst.Base.Addr", "TileDMADst.BaseLo.Addr", "TileDMADst.DstBaseAddrLo.AddrLo"],
    row: ["TileDMADst.RowStride.Stride", "TileDMADst.DstRowStride.Stride"],
    channel: ["TileDMADst.PlaneStride.Stride", "TileDMADst.DstPlaneStride.Stride"],
    depth: ["TileDMADst.DepthStride.Stride", "TileDMADst.DstDepthStride.Stride"],
    group: ["TileDMADst.GroupStride.Stride", "TileDMADst.DstGroupStride.Stride"],
    interleave: ["TileDMADst.Fmt.Interleave", "TileDMADst.DstFmt.Interleave"],
  },
};

export const CORE_LIMIT = 16;

/** The names of one core's weight registers. */
export function coefficientNames(
  core: number,
): Readonly<Record<"enable" | "base" | "size", readonly string[]>> {
  return {
    enable: [`KernelDMA.CoeffDMAConfig[${core}].En`, `KernelDMA.CoeffDMAConfig[${core}].Enable`],
    base: [`KernelDMA.CoeffBase[${core}].Addr`, `KernelDMA.CoeffBaseAddr[${core}].Addr`],
    size: [`KernelDMA.CoeffBfrSize[${core}].Size`],
  };
}
