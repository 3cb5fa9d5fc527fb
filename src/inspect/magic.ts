import type { ByteSource } from "../util/byte-source.ts";
import { viewOf } from "./byte-view.ts";

export const HWX_MAGIC = 0xbeefface;

/** Other files that begin like a Mach-O or could be mistaken for one, by their first word. */
const OTHER_MAGICS: ReadonlyMap<number, string> = new Map([
  [0xfeedface, "a 32-bit Mach-O"],
  [0xfeedfacf, "a 64-bit Mach-O"],
  [0xcefaedfe, "a big-endian 32-bit Mach-O"],
  [0xcffaedfe, "a big-endian 64-bit Mach-O"],
  [0xbebafeca, "a universal Mach-O"],
  [0xcafebabe, "a universal Mach-O"],
  [0xcefaefbe, "an HWX program with its bytes swapped"],
]);

/** What a file's first word says it is when it is not HWX, or undefined. */
export function otherMagic(word: number): string | undefined {
  return OTHER_MAGICS.get(word);
}

/** Where the payload of a `.ane` file may begin. */
export const PAYLOAD_OFFSETS = [0x1000, 0x800] as const;

/** Whether the sizes in the first bytes add up to this file, which is all that tells a `.ane` file. */
export function looksLikeAneContainer(source: ByteSource): boolean {
  if (source.byteLength < 0x800) return false;
  const view = viewOf(source, 0, 0x28, { at: 0, field: "ane header" });
  const sizeHigh = view.u32(4, "size");
  const size = view.u32(0, "size");
  const taskBytes = view.u32(16, "tsk_size");
  return (
    sizeHigh === 0 &&
    view.u32(20, "tsk_size") === 0 &&
    taskBytes > 0 &&
    taskBytes <= size &&
    PAYLOAD_OFFSETS.some((offset) => offset + size === source.byteLength)
  );
}
