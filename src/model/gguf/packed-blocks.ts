import type { StoredNumbers } from "../../plan/stored-numbers.ts";
import type { GroupedStorage } from "../../plan/storage.ts";

/** Numbers of a block of Q4_0 and Q8_0. */
const BLOCK = 32;

/** How blocks stand in memory as they are; nothing for types that memory holds in no such form. */
export function packedStorage(typeName: string): GroupedStorage | undefined {
  const common = { groupSize: BLOCK, scaleType: "fp16", hasBiases: false } as const;
  if (typeName === "Q4_0") return { kind: "int4", zeroPoint: 8, ...common };
  if (typeName === "Q8_0") return { kind: "int8", zeroPoint: 128, ...common };
  return undefined;
}

/** Whole blocks into codes and scales, bit by bit. A block is its fp16 scale and its codes. */
export function unpackBlocks(
  { kind }: GroupedStorage,
  bytes: Uint8Array,
  { codes, scales }: StoredNumbers,
): void {
  const codeBytes = kind === "int4" ? BLOCK / 2 : BLOCK;
  const blockBytes = 2 + codeBytes;
  for (let block = 0; block * blockBytes < bytes.length; block++) {
    const at = block * blockBytes;
    if (scales !== undefined) scales[block] = (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8);
    const first = at + 2;
    const target = block * codeBytes;
    for (let index = 0; index < codeBytes; index++) {
      if (kind === "int8") {
        // Codes are signed there and count from 0 here.
        codes[target + index] = (bytes[first + index] ?? 0) ^ 0x80;
        continue;
      }
      // There the low halves are the first sixteen numbers, here two neighbours share a byte.
      const isHigh = index >= codeBytes / 2;
      const pair = first + 2 * (isHigh ? index - codeBytes / 2 : index);
      const [a, b] = [bytes[pair] ?? 0, bytes[pair + 1] ?? 0];
      codes[target + index] = isHigh ? (a >> 4) | (b & 0xf0) : (a & 15) | ((b & 15) << 4);
    }
  }
}
