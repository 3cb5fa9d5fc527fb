import type { HwxTarget } from "./chips.ts";
import type { HwxHeaderField } from "./model.ts";

type FieldRow = readonly [name: string, low: number, high: number];

const NEXT: readonly FieldRow[] = [
  ["ExeCycles", 0, 15],
  ["NextSize", 16, 24],
];
const IDENTITY: readonly FieldRow[] = [
  ["TID", 0, 15],
  ["NID", 16, 23],
  ["LNID", 24, 24],
  ["EON", 25, 25],
];
const FLAGS: readonly FieldRow[] = [
  ["DisallowAbort", 8, 8],
  ["TDSkip", 9, 9],
  ["KPC", 10, 10],
  ["SPL", 11, 11],
  ["TSR", 12, 12],
  ["SPC", 13, 13],
  ["DPC", 14, 14],
  ["TSE", 15, 15],
  ["NextPriority", 16, 21],
  ["TDE", 24, 24],
  ["SrcLoc", 28, 28],
  ["DstLoc", 29, 29],
  ["TQDis", 31, 31],
];

/** Versions 4 to 6: seven words, read off four samples by comparison with their H13 twin. */
const HEADER_7: readonly (readonly FieldRow[])[] = [
  IDENTITY,
  NEXT,
  [["LogEvents", 0, 23]],
  [["Exceptions", 0, 23]],
  FLAGS,
  [["NextPointer", 0, 31]],
  [
    ["KBase", 0, 2],
    ["KBE", 3, 3],
    ["RBase", 4, 6],
    ["RBE", 7, 7],
    ["WBase", 8, 10],
    ["WBE", 11, 11],
  ],
];

const HEADER_10: readonly (readonly FieldRow[])[] = [
  IDENTITY,
  NEXT,
  [["LogEvents", 0, 23]],
  [["Exceptions", 0, 23]],
  [["DebugLogEvents", 0, 23]],
  [["DebugExceptions", 0, 23]],
  FLAGS,
  [["NextPointer", 0, 31]],
  [
    ["RBase0", 0, 4],
    ["RBE0", 5, 5],
    ["RBase1", 6, 10],
    ["RBE1", 11, 11],
    ["WBase", 12, 16],
    ["WBE", 17, 17],
    ["TBase", 18, 22],
    ["TBE", 23, 23],
    ["ENE", 24, 27],
  ],
  [
    ["KBase0", 0, 4],
    ["KBE0", 5, 5],
    ["KBase1", 6, 10],
    ["KBE1", 11, 11],
    ["KBase2", 12, 16],
    ["KBE2", 17, 17],
    ["KBase3", 18, 22],
    ["KBE3", 23, 23],
  ],
  [["DTID", 0, 15]],
];

const SIZED: readonly FieldRow[] = [
  ["TID", 0, 15],
  ["Size", 16, 26],
];
const LAST: readonly FieldRow[] = [
  ["TSR", 0, 0],
  ["TDE", 1, 1],
  ["ENE", 16, 18],
];

const HEADER_8: readonly (readonly FieldRow[])[] = [
  SIZED,
  [["ExeCycles", 0, 15]],
  [["LogEvents", 0, 31]],
  [["Exceptions", 0, 31]],
  [["DebugLogEvents", 0, 31]],
  [["DebugExceptions", 0, 31]],
  [["LiveOuts", 0, 31]],
  LAST,
  [["DTID", 0, 15]],
];

const HEADER_9: readonly (readonly FieldRow[])[] = [
  ...HEADER_8.slice(0, 7),
  [["Flags", 0, 31]],
  LAST,
  [["DTID", 0, 15]],
];

const HEADER_24: readonly (readonly FieldRow[])[] = [
  ...HEADER_8.slice(0, 6),
  [["DramLogEventsLo", 0, 31]],
  [["DramLogEventsHi", 0, 31]],
  [
    ["TSR", 0, 0],
    ["TDE", 1, 1],
    ["Perf", 4, 4],
    ["XTDE", 5, 5],
    ["Publish", 6, 6],
    ["ENE", 16, 18],
  ],
  [["DTID", 0, 15]],
];

function layoutOf(target: HwxTarget): readonly (readonly FieldRow[])[] {
  if (target.headerWords === 7) return HEADER_7;
  if (target.headerWords === 10) return HEADER_10;
  if (target.headerWords === 8) return HEADER_8;
  return target.family === "h18g" ? HEADER_24 : HEADER_9;
}

/** Names the bits of a task's header words. */
export function headerFields(target: HwxTarget, words: readonly number[]): HwxHeaderField[] {
  const layout = layoutOf(target);
  return words.flatMap((word, index) =>
    (layout[index] ?? []).map(([name, low, high]) => ({
      word: index,
      name,
      value: high - low === 31 ? word : (word >>> low) & (2 ** (high - low + 1) - 1),
    })),
  );
}

export interface BaseIndices {
  readonly source: number | null;
  readonly source2: number | null;
  readonly kernel: number | null;
  readonly result: number | null;
}

/**
 * The base indices that a header of versions 4 to 7 enables for each operand; null where the operand has none.
 * Later versions carry them in address packets.
 */
export function headerBases(fields: readonly HwxHeaderField[]): BaseIndices {
  const value = (name: string): number | undefined =>
    fields.find((field) => field.name === name)?.value;
  const enabled = (base: string, enable: string): number | null =>
    value(enable) === 1 ? (value(base) ?? null) : null;
  return {
    source: enabled("RBase0", "RBE0") ?? enabled("RBase", "RBE"),
    source2: enabled("RBase1", "RBE1"),
    kernel: enabled("KBase0", "KBE0") ?? enabled("KBase", "KBE"),
    result: enabled("WBase", "WBE"),
  };
}
