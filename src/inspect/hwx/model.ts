import type { HwxTarget } from "./chips.ts";
import type { Provenance } from "./map/types.ts";

/** What load commands say of a program. */
export interface HwxTables {
  readonly header: HwxHeader;
  readonly commands: readonly HwxCommand[];
  readonly segments: readonly HwxSegment[];
  readonly symbols: readonly HwxSymbol[];
  readonly surfaces: readonly HwxSurface[];
  readonly regions: readonly HwxRegion[];
  readonly relocations: readonly HwxRelocation[];
  /** The compiler's own words from LC_IDENT and LC_NOTE. */
  readonly compiler: string | null;
  readonly notes: readonly HwxNote[];
  readonly warnings: readonly string[];
}

/** A decoded program. Everything in it is plain data, so it can be printed as JSON as it is. */
export interface HwxFile extends HwxTables {
  readonly format: "hwx" | "ane";
  readonly name: string;
  readonly byteLength: number;
  readonly target: HwxTarget;
  readonly programs: readonly HwxProgram[];
  readonly tasks: readonly HwxTask[];
  /** What each word of the task stream is. */
  readonly stream: readonly HwxStreamPart[];
  /** What each byte of the file is. */
  readonly layout: readonly HwxLayoutPart[];
}

/** The file header of a compiled engine program: a Mach-O one with Apple's numbers. */
export interface HwxHeader {
  readonly cpuType: number;
  readonly cpuSubtype: number;
  readonly fileType: number;
  readonly commandCount: number;
  readonly commandBytes: number;
  readonly flags: number;
}

/** A load command of the file. */
export interface HwxCommand {
  readonly command: number;
  readonly name: string;
  readonly offset: number;
  readonly byteLength: number;
}

/** A segment: bytes of the file and where they stand in memory. */
export interface HwxSegment {
  readonly name: string;
  readonly address: number;
  readonly byteLength: number;
  readonly fileOffset: number;
  readonly fileByteLength: number;
  readonly maxProtection: number;
  readonly protection: number;
  readonly flags: number;
  readonly sections: readonly HwxSection[];
}

/** A section of a segment. */
export interface HwxSection {
  readonly segment: string;
  readonly name: string;
  readonly address: number;
  readonly byteLength: number;
  /** Where the bytes are in the file; null when the section has none there (inputs, outputs, scratch). */
  readonly fileOffset: number | null;
  readonly alignment: number;
  readonly flags: number;
}

/** All sections, segment by segment. */
export function sectionsOf({ segments }: Pick<HwxTables, "segments">): readonly HwxSection[] {
  return segments.flatMap(({ sections }) => sections);
}

/** The section that an address lies in. */
export function sectionAt(sections: readonly HwxSection[], at: number): HwxSection | undefined {
  return sections.find(({ address, byteLength }) => at >= address && at < address + byteLength);
}

/** A name of the file: a port, a constant, a place in a section. */
export interface HwxSymbol {
  readonly name: string;
  readonly type: number;
  readonly section: number;
  readonly description: number;
  readonly address: number;
  /** A debug entry that describes a tensor: element type and dimensions, outermost first. */
  readonly tensor?: HwxSymbolTensor;
}

/** The tensor that a symbol stands for. */
export interface HwxSymbolTensor {
  readonly name: string;
  readonly elementType: string;
  readonly dimensions: readonly {
    readonly axis: string;
    readonly size: number;
    readonly strideBytes: number;
  }[];
}

/** One LC_THREAD that starts tasks. */
export interface HwxProgram {
  readonly flavor: 1 | 4;
  readonly name: string;
  /** Address of each buffer by base index; unused indices are left out. */
  readonly bases: readonly HwxBase[];
  readonly textAddress: number;
  readonly firstTaskWords: number | null;
  readonly taskCount: number;
  readonly engineMask: number;
  readonly commandOffset: number;
  /** Words of the state that are not zero and that nobody has named. */
  readonly unknownWords: readonly { readonly offset: number; readonly value: number }[];
}

/** A base address that tasks refer to. */
export interface HwxBase {
  readonly index: number;
  readonly address: number;
  readonly role: BufferRole;
  /** The name of the tensor, or the section. */
  readonly name: string;
}

/** What a buffer is for. */
export type BufferRole = "text" | "weights" | "input" | "output" | "scratch" | "unknown";

/** One input or output as LC_THREAD flavor 3 (or a `.ane` channel) describes it. */
export interface HwxSurface {
  readonly role: "input" | "output" | "unknown";
  readonly name: string;
  readonly symbol: string;
  readonly elementType: string;
  readonly elementBytes: number;
  /** N, C, H, W and D. */
  readonly shape: {
    readonly n: number;
    readonly c: number;
    readonly h: number;
    readonly w: number;
    readonly d: number;
  };
  readonly strideBytes: { readonly n: number; readonly c: number; readonly h: number };
  readonly byteLength: number;
}

/** A range of bytes that tasks read or write. */
export interface HwxRegion {
  readonly name: string;
  readonly address: number;
}

/** A place that the loader fills with an address. */
export interface HwxRelocation {
  readonly section: string;
  readonly address: number;
  readonly word: number;
}

/** What the compiler noted in the file. */
export interface HwxNote {
  readonly owner: string;
  readonly byteLength: number;
  readonly text: string;
}

/** Kinds of parts in a stream of tasks. */
export type StreamPartKind = "task" | "prefix" | "padding" | "unclaimed";

/** A part of a stream of tasks, in bytes. */
export interface HwxStreamPart {
  readonly kind: StreamPartKind;
  /** Offset in the file, in bytes. */
  readonly offset: number;
  readonly wordCount: number;
  readonly task?: number;
}

/** Bytes of a file with what they are. */
export interface HwxSpan {
  readonly what: string;
  readonly offset: number;
  readonly byteLength: number;
}

/** How a part of the stream is laid out. */
export interface HwxLayoutPart extends HwxSpan {
  /** False where bytes are neither named nor zero. */
  readonly accounted: boolean;
}

/** One value a task writes, in the order of the stream. */
export interface HwxWrite {
  /** Byte address of the register. */
  readonly address: number;
  readonly value: number;
  /** Offset in the file, in bytes. */
  readonly offset: number;
  /** The loader adds the address behind this base index (address packets only). */
  readonly base?: number;
}

/** A record of registers that a task writes. */
export interface HwxRecord {
  readonly offset: number;
  readonly word: number;
  readonly kind: "block" | "dense" | "scatter" | "address";
  /** Byte address of the first register. */
  readonly address: number;
  readonly valueCount: number;
}

/** A field of a task's header. */
export interface HwxHeaderField {
  readonly word: number;
  readonly name: string;
  readonly value: number;
}

/** One task of the engine: header, registers, and what they mean. */
export interface HwxTask {
  readonly index: number;
  /** Which run of tasks it belongs to: a program, or a stream inside one section. */
  readonly stream: number;
  readonly taskId: number;
  /** Offset in the file, in bytes. */
  readonly offset: number;
  readonly wordCount: number;
  readonly headerWords: readonly number[];
  readonly header: readonly HwxHeaderField[];
  readonly records: readonly HwxRecord[];
  readonly writes: readonly HwxWrite[];
  readonly coverage: HwxCoverage;
  readonly meaning: HwxMeaning;
}

/** How much of a task (or a file) is understood. All counts are 32-bit words. */
export interface HwxCoverage {
  readonly wordCount: number;
  readonly headerWords: number;
  readonly recordWords: number;
  /** Register values written. */
  readonly writtenWords: number;
  /** Written values whose register and field the map names. */
  readonly namedWords: number;
  readonly unknownWords: number;
  /** Named registers of which a bit is set that no field covers. */
  readonly unknownBitWords: number;
  /** Registers of the map that the task leaves at their default. */
  readonly defaultRegisters: number;
  readonly bySource: Readonly<Record<Provenance, number>>;
}

/** Operations that tasks are told as. */
export const OPERATIONS = [
  "conv",
  "conv_transpose",
  "matmul",
  "pool",
  "elementwise",
  "reduce",
  "activation",
  "copy",
  "rcas",
  "unknown",
] as const;
/** What a task computes. */
export type HwxOperation = (typeof OPERATIONS)[number];

/** Sizes of a tensor as the engine has them: channels, height, width, depth. */
export interface HwxExtent {
  readonly width: number | null;
  readonly height: number | null;
  readonly depth: number | null;
  readonly channels: number | null;
}

/** Where an operand stands. */
export type OperandPlace =
  | {
      readonly where: "dram";
      readonly base: number;
      readonly role: BufferRole;
      readonly name: string;
      readonly offset: number;
    }
  | { readonly where: "on-chip"; readonly address: number | null }
  | { readonly where: "none" };

/** An operand of a task: its place, type and sizes. */
export interface HwxOperand {
  readonly name: "source" | "source2" | "kernel" | "result";
  readonly place: OperandPlace;
  readonly dtype: string | null;
  readonly extent: HwxExtent | null;
  /** Memory layout: strides in bytes, null where left at the default. */
  readonly strideBytes: {
    readonly row: number | null;
    readonly channel: number | null;
    readonly depth: number | null;
    readonly group: number | null;
  } | null;
  readonly interleave: number | null;
  /** Bytes moved to or from DRAM, with rows padded to 64 bytes; 0 when the operand stays on chip. */
  readonly dramBytes: number | null;
}

/** What the registers of a task mean. */
export interface HwxMeaning {
  readonly op: HwxOperation;
  /** The exact operation: `add`, `max`, `relu`, `conv`, …; null where unknown. */
  readonly detail: string | null;
  readonly kernel: {
    readonly width: number;
    readonly height: number;
    readonly depth: number;
    readonly strideX: number;
    readonly strideY: number;
    readonly padLeft: number;
    readonly padTop: number;
    readonly groups: number;
    readonly channelsPerGroup: number | null;
  } | null;
  readonly weights: string | null;
  readonly activation: string | null;
  readonly input: HwxExtent;
  readonly output: HwxExtent;
  readonly tileHeight: number | null;
  readonly coreCount: number | null;
  readonly operands: readonly HwxOperand[];
  readonly multiplyAccumulates: number | null;
  readonly dramBytes: number | null;
  /** Which of the above rest on defaults that this project infers, as words. */
  readonly assumed: readonly string[];
}
