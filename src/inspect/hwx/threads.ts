import type { ByteView } from "../byte-view.ts";
import type { HwxSurface, HwxProgram, HwxBase } from "./model.ts";
import { elementTypeName } from "./symbols.ts";

export const BASE_COUNT = 256;

/** LC_THREAD flavor 1 (subtype up to 4) or 4: where the tasks are and where the buffers are. */
export interface ProgramThread extends Omit<HwxProgram, "bases"> {
  /** Addresses by base index; 0 is unused. */
  readonly bases: readonly Pick<HwxBase, "index" | "address">[];
  /** Words of the stream (flavor 4). */
  readonly segmentWords: number | null;
}

/** Offsets in the command of the named words behind the base addresses. */
const NAMED_WORDS: Readonly<Record<1 | 4, ReadonlySet<number>>> = {
  1: new Set([0x810, 0x814, 0x818, 0x81c, 0x820, 0x824, 0x83c]),
  4: new Set([
    0x810, 0x814, 0x818, 0x81c, 0x820, 0x824, 0x828, 0x82c, 0x830, 0x834, 0x838, 0x83c, 0x840,
    0x844, 0x848,
  ]),
};

/** Throws `InspectError` when the command is too short for its state. */
export function readProgramThread(window: ByteView, flavor: 1 | 4): ProgramThread {
  const at = window.start;
  const field = (part: string): string => `LC_THREAD flavor ${flavor}.${part}`;
  const bases: { index: number; address: number }[] = [];
  for (let index = 0; index < BASE_COUNT; index++) {
    const address = window.u64(at + 0x10 + index * 8, field(`base_addr[${index}]`));
    if (address !== 0) bases.push({ index, address });
  }
  const textAddress = window.u64(at + 0x810, field("text address"));
  const nameOffsetAt = at + (flavor === 1 ? 0x83c : 0x848);
  return {
    flavor,
    name: nameBehind(window, nameOffsetAt),
    bases,
    textAddress,
    firstTaskWords: flavor === 1 ? window.u32(at + 0x818, field("first task words")) + 1 : null,
    segmentWords: flavor === 4 ? window.u32(at + 0x824, field("segment words")) : null,
    taskCount: window.u32(at + (flavor === 1 ? 0x81c : 0x830), field("task count")),
    engineMask: window.u32(at + (flavor === 1 ? 0x824 : 0x844), field("engine mask")),
    commandOffset: at,
    unknownWords: unnamedWords(window, flavor, nameOffsetAt),
  };
}

function unnamedWords(
  window: ByteView,
  flavor: 1 | 4,
  nameOffsetAt: number,
): { offset: number; value: number }[] {
  const nameAt = window.u32(nameOffsetAt, "LC_THREAD.name offset");
  const length = window.bytes.byteLength;
  const end = nameAt > 0x810 && nameAt < length ? nameAt : length;
  const words: { offset: number; value: number }[] = [];
  for (let offset = 0x810; offset + 4 <= end; offset += 4) {
    const value = window.u32(window.start + offset, "LC_THREAD.state");
    if (value !== 0 && !NAMED_WORDS[flavor].has(offset)) words.push({ offset, value });
  }
  return words;
}

function nameBehind(window: ByteView, offsetAt: number): string {
  if (offsetAt + 4 > window.end) return "";
  const offset = window.u32(offsetAt, "LC_THREAD.name offset");
  if (offset === 0 || offset >= window.bytes.byteLength) return "";
  return window.text(window.start + offset, window.end, "LC_THREAD.name");
}

/** LC_THREAD flavor 3: one input or output. Throws `InspectError` when the state is cut short. */
export function readSurfaceThread(window: ByteView): HwxSurface {
  const state = window.start + 0x10;
  const word = (index: number, name: string): number =>
    window.u32(state + index * 4, `LC_THREAD flavor 3.${name}`);
  const wide = (index: number, name: string): number =>
    window.u64(state + index * 4, `LC_THREAD flavor 3.${name}`);
  const role = word(1, "direction");
  const shortNameAt = state + 27 * 4;
  const symbol = nameBehind(window, state + 4 * 4);
  return {
    role: role === 1 ? "input" : role === 2 ? "output" : "unknown",
    name: nameBehind(window, shortNameAt) || symbol,
    symbol,
    elementType: elementTypeName(word(5, "element type")),
    elementBytes: word(22, "element size"),
    shape: {
      n: word(6, "N"),
      c: word(7, "C"),
      h: word(8, "H"),
      w: word(9, "W"),
      d: word(10, "D"),
    },
    strideBytes: {
      n: wide(16, "batch stride"),
      c: wide(18, "plane stride"),
      h: wide(20, "row stride"),
    },
    byteLength: wide(24, "total bytes"),
  };
}
