import type { ScaledHalves } from "../../engine/host/scaled-halves.ts";

/** Bytes of the power of two that a segment's halves are multiplied with. */
const SCALE_BYTES = 4;
/** Halves below this lose bits: the largest of a segment is brought near the top of the range instead. */
const TOP_EXPONENT = 14;

/** Bytes of a segment on the wire; each begins where an fp32 number may stand. */
export function halfBytes(elementCount: number): number {
  return elementCount === 0 ? 0 : SCALE_BYTES + 2 * (elementCount + (elementCount % 2));
}

/** Numbers that travel together, and what rounding lost of them before, where that is kept. */
export interface RoundedPart {
  readonly numbers: Float32Array;
  readonly lost: Float32Array | undefined;
}

/**
 * Writes a segment as halves times one power of two. What that loses comes into `lost`, whose contents are added
 * before. Numbers that are not finite travel as such, and their segment leaves nothing behind. `numbers` become what a
 * reader of the halves gets.
 */
export function writeHalves(
  halves: ScaledHalves,
  parts: readonly RoundedPart[],
  target: Uint8Array,
): void {
  const largest = parts.reduce((found, { numbers, lost }) => {
    const size = halves.addLost(numbers, lost);
    return Number.isNaN(size) ? size : Math.max(found, size);
  }, 0);
  const isFinite = Number.isFinite(largest);
  const exponent = largest > 0 && isFinite ? Math.floor(Math.log2(largest)) : TOP_EXPONENT;
  const scale = 2 ** Math.max(-126, Math.min(126, TOP_EXPONENT - exponent));
  new DataView(target.buffer, target.byteOffset).setFloat32(0, scale, true);
  let at = target.byteOffset + SCALE_BYTES;
  for (const { numbers, lost } of parts) {
    halves.write(numbers, lost, new Uint16Array(target.buffer, at, numbers.length), scale);
    at += 2 * numbers.length;
    if (!isFinite) lost?.fill(0);
  }
}

/** Reads what `writeHalves` wrote. */
export function readHalves(halves: ScaledHalves, source: Uint8Array, numbers: Float32Array): void {
  if (numbers.length === 0) return;
  const scale = new DataView(source.buffer, source.byteOffset).getFloat32(0, true);
  const at = source.byteOffset + SCALE_BYTES;
  halves.read(new Uint16Array(source.buffer, at, numbers.length), numbers, 1 / scale);
}
